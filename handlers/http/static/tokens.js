// The list of one's own tokens: where one is logged in, and what one's scripts show.
import { ask } from "./ask.js";
import { $, call, day, h, moment, now, prefix, toast } from "./common.js";
import { firstAsked } from "./watch.js";

// What a log-in is called where its browser isn't known.
const UNNAMED = { session: "a browser", access: "a script's log-in", refresh: "a script's log-in" };

const called = (token) => token.name || UNNAMED[token.kind] || token.kind;

export async function tokens(after = "") {
  // Whether one has expired is for Pinglet's clock to say.
  const [{ tokens: found, next }] = await Promise.all([call("GET", `tokens?after=${after}`), firstAsked]);
  if (!after) $("#tokens").replaceChildren();
  $("#more-tokens").hidden = !next;
  $("#more-tokens").onclick = () => tokens(next);
  $("#tokens").append(...found.map(row));
}

function row(token) {
  const revoke = h("button", { type: "button", class: "quiet danger", "aria-label": `Revoke ${called(token)}`, onclick: () => end(token) }, "Revoke");
  return h("tr", token.current ? { class: "current", "aria-current": "true" } : {},
    h("td", { class: "title" }, h("bdi", {}, called(token)),
      token.current ? h("span", { class: "chip" }, "this session") : null,
      now() >= Date.parse(token.expires) ? h("span", { class: "chip" }, "expired") : null,
      h("small", {}, "since ", moment(token.created))),
    h("td", { "data-label": "kind" }, token.kind),
    h("td", { "data-label": "scope" }, token.scope),
    h("td", { "data-label": "last used" }, token.last_used ? moment(token.last_used) : "never"),
    h("td", { "data-label": "expires" }, moment(token.expires, day)),
    h("td", { class: "act" }, revoke));
}

const AFTER = {
  session: "That browser has to log in again.",
  key: "Whatever uses it is refused from then on.",
  access: "The whole log-in ends: its access token and its refresh token.",
  refresh: "The whole log-in ends: its access token and its refresh token.",
};

// Whoever revokes what was stolen can't wait until it can't be undone any more: so it is asked.
async function end(token) {
  const then = token.current ? "This is the session that you are in: you will be logged out." : AFTER[token.kind];
  if (!await ask(["Revoke ", h("bdi", {}, called(token)), "?"], then, "Revoke")) return;
  try {
    await call("DELETE", `tokens/${token.id}`);
    if (token.current) { location.replace(`${prefix}/login`); return; }
    toast(`Revoked ${called(token)}`);
  } catch (problem) { toast(problem.message); }
  await tokens();
  ($("#tokens button") ?? $("#new-token [name=name]")).focus({ preventScroll: true });
}
