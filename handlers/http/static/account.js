import { $, call, h, me, onSubmit, prefix, toast } from "./common.js";
import { goOnRemoving, removeSoon } from "./removing.js";
import { tokens } from "./tokens.js";
import "./watch.js";

$("#open").hidden = !me.open;
$("#mine").hidden = me.open;
$("#people").hidden = me.open || me.may !== "admin";

async function users() {
  const found = (await call("GET", "users")).users;
  $("#users").replaceChildren(...found.map((user) => h("tr", {},
    h("td", { class: "title" }, h("bdi", {}, user.name)),
    h("td", { "data-label": "role" }, roles(user)), h("td", { "data-label": "state" }, user.enabled ? "active" : "locked out"),
    h("td", { class: "act" },
      h("button", { type: "button", class: "quiet", "aria-label": `${user.enabled ? "Lock out" : "Unlock"} ${user.name}`, onclick: () => change(user, { enabled: !user.enabled }) }, user.enabled ? "Lock out" : "Unlock"),
      h("button", { type: "button", class: "quiet danger", "aria-label": `Remove ${user.name}`, onclick: () => remove(user) }, "Remove")))));
}

function roles(user) {
  const select = h("select", { "aria-label": `Role of ${user.name}`, onchange: () => change(user, { role: select.value }) },
    ...["viewer", "editor", "admin"].map((role) => h("option", { selected: role === user.role }, role)));
  return select;
}

// What was refused is said; the list then shows how things are.
async function tried(act, list) {
  try { await act(); } catch (problem) { toast(problem.message); }
  await list();
}

const change = (user, what) => tried(() => call("PATCH", `users/${user.id}`, what), users);

const remove = (user) => removeSoon({ path: `users/${user.id}`, name: user.name, told: `${user.name} and all their tokens will be removed` }, () => users());

// A token may never do more than whoever makes it.
const SCOPES = ["read", "write", "admin"];
$("#new-token [name=scope]").append(...SCOPES.slice(0, SCOPES.indexOf(me.may) + 1).map((scope) => h("option", {}, scope)));

onSubmit($("#new-token"), async (form) => {
  const made = await call("POST", "tokens", { name: form.get("name"), scope: form.get("scope"), password: form.get("password") });
  $("#made").hidden = false;
  $("#token").textContent = made.token;
  $("#new-token").reset();
  await tokens();
});

onSubmit($("#password"), async (form) => {
  await call("PUT", "me/password", { old: form.get("old"), new: form.get("new") });
  location.assign(`${prefix}/login`);
});

onSubmit($("#new-user"), async (form) => {
  await call("POST", "users", { name: form.get("name"), password: form.get("password"), role: form.get("role") });
  $("#new-user").reset();
  await users();
});

document.addEventListener("zone", () => { if (!me.open) tokens(); });
if (!me.open) await tokens();
if (!$("#people").hidden) await users();
goOnRemoving(() => users());
