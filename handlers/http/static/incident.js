// One incident: what happened, the chart around it, and what people do about it.
import { ask } from "./ask.js";
import { MINUTE, charts, readChart } from "./charts.js";
import { $, Refusal, aging, between, call, h, iso, lately, moment, now, onSubmit, prefix, toast } from "./common.js";
import { goOnRemoving } from "./removing.js";
import { chipsOf, isOpen, linkOf, markOf, saidOf, told, wordsOf } from "./since.js";
import { ask as askHealth, firstAsked, named, upToDate } from "./watch.js";

const id = Number(location.pathname.split("/").at(-1));
const REFRESH_MS = 30_000;
const BESIDE = 30 * MINUTE; // that are shown at least before it and after it

let incident = null;
let timeline = [];
let members = [];
let asked = 0;

// As long again as it lasted, half before and half after it.
function whole() {
  const [from, to] = [Date.parse(incident.opened), incident.resolved ? Date.parse(incident.resolved) : now()];
  const beside = Math.max(BESIDE, (to - from) / 2);
  const minute = (time) => Math.ceil(time / MINUTE) * MINUTE;
  return { since: minute(from - beside), until: minute(Math.min(now(), to + beside)) };
}

async function refresh() {
  await firstAsked;
  if (now() === null) await askHealth();
  if (now() === null) throw new Refusal({ detail: "Pinglet can't be reached" }, 0);
  const turn = ++asked;
  const found = await call("GET", `incidents/${id}`);
  if (turn !== asked) return;
  show(found);
  const serverId = (incident.server ?? incident.parent)?.id ?? null;
  $("#around").hidden = serverId === null;
  if (serverId === null) return;
  const window = chart.windowShown();
  const around = await readChart(serverId, window, call("GET", `servers/${serverId}`)).catch(unlessGone);
  if (around && turn === asked) chart.draw(window, around);
}

// The server was removed meanwhile: the next answer says so.
function unlessGone(problem) {
  if (problem.status !== 404) throw problem;
}

function show(found) {
  ({ incident, timeline, members } = found);
  write();
}

function write() {
  if (!incident) return;
  named(`${wordsOf(incident)}, ${saidOf(incident)}`);
  $("#mark").className = `mark ${markOf(incident)}`;
  replace($("#name"), [linkOf(incident)]);
  replace($("#facts"), [
    h("bdi", {}, ...told(incident)),
    ...(incident.detail ?? incident.reason ? [h("bdi", {}, incident.detail ?? incident.reason)] : []),
    ...(incident.flaps ? [h("bdi", {}, `opened again ${incident.flaps} ${incident.flaps === 1 ? "time" : "times"}`)] : []),
    " ", h("span", { class: "chips" }, ...chipsOf(incident)),
  ]);
  replace($("#timeline"), timeline.map(line));
  $("#members").hidden = members.length === 0;
  replace($("#members ul"), members.map(member));
  for (const part of document.querySelectorAll("#act [data-open]")) part.hidden = !isOpen(incident);
  $("#act [data-acked]").hidden = incident.acked_by === null;
}

// What says the same stays: nobody who reads it is disturbed.
function replace(element, nodes) {
  const text = (all) => h("span", {}, ...[...all].map((one) => one.cloneNode?.(true) ?? one)).innerHTML;
  if (text(nodes) !== text(element.childNodes)) element.replaceChildren(...nodes);
}

// The servers of a group, those that are still bad first

const member = ({ server, since, until }) => h("li", {},
  h("span", { class: `mark ${until ? "over" : "down"}`, "aria-hidden": "true" }), " ",
  server.id === null ? h("bdi", {}, server.name) : h("a", { href: `${prefix}/dashboard/servers/${server.id}` }, h("bdi", {}, server.name)), " ",
  ...(until ? between(since, until, { write: lately }) : ["since ", moment(since, lately)]));

// The timeline

const KINDS = {
  opened: "Opened",
  reopened: "Opened again",
  resolved: "Resolved",
  acknowledged: "looks after it",
  unacknowledged: "no longer looks after it",
  comment: "",
  joined: "More of them",
  left: "Good again",
  held: "Held: nobody is told",
  released: "No longer held",
};
const HOW = { paused: "The server was paused", removed: "The server was removed", rule: "Its rule was removed or no longer holds for it" };

function line({ at, kind, who, note }) {
  const words = KINDS[kind] ?? kind;
  const what = who === null ? words : [h("bdi", {}, who), words && ` ${words[0].toLowerCase()}${words.slice(1)}${kind === "resolved" ? " it" : ""}`];
  const said = who === null ? HOW[note] ?? note : note;
  return h("li", { class: kind },
    h("span", { class: "at muted" }, moment(at)), " ",
    h("span", { class: "what" }, ...[what].flat()), " ",
    said ? h("p", { class: "note" }, h("bdi", {}, said)) : null);
}

// What people do about it

const UNTIL_M = { "it is resolved": null, "30 minutes from now": 30, "an hour from now": 60, "4 hours from now": 240, "12 hours from now": 720, "24 hours from now": 1440 };
$("#act [name=until]").append(...Object.entries(UNTIL_M).map(([label, minutes]) => h("option", { value: minutes ?? "" }, label)));

const QUESTION = "If it is still down, the next slots that are bad open another.";

// What is done, and what is said of it then; null where it wasn't done after all.
async function act(action, form) {
  const note = form.get("note").trim() || undefined;
  const send = (body) => call("POST", `incidents/${id}/${action}`, body);
  if (action === "ack") {
    const until = form.get("until") ? iso(now() + Number(form.get("until")) * MINUTE) : null;
    return [await send({ until, note }), "You look after it"];
  }
  if (action === "unack") return [await send(), "You no longer look after it"];
  if (action === "comment") return [await send({ note: note ?? "" }), "Your comment is in the timeline"];
  if (!await ask("Resolve this incident by hand?", QUESTION, "Resolve")) return null;
  return [await send({ note }), "The incident is resolved"];
}

onSubmit($("#act"), async (form, button) => {
  const done = await act(button.value, form);
  if (!done) return;
  const [found, words] = done;
  if (button.value !== "unack") $("#act").reset();
  show(found);
  toast(words);
  // A button that is no longer there has lost the focus.
  if (!button.checkVisibility()) $("#act [name=note]").focus();
  guarded();
});

function gone() {
  clearInterval(refreshing);
  incident = null; // nothing is said of it any more
  named("Incident not found");
  for (const part of $("#main").children) part.hidden = !part.contains($("#name"));
  $("#mark").hidden = true;
  $("#name").textContent = "Incident not found";
  $("#facts").replaceChildren(h("a", { href: $(".crumb a").href }, "See all incidents"));
}

async function guarded() {
  await upToDate(async () => {
    try { await refresh(); } catch (problem) {
      if (problem.status !== 404) throw problem;
      gone();
    }
  });
}

const chart = charts({ whole, refresh: guarded });

document.addEventListener("reached", guarded);
document.addEventListener("zone", write);
document.addEventListener("visibilitychange", () => { if (!document.hidden) guarded(); });
const refreshing = setInterval(() => { if (!document.hidden) guarded(); }, REFRESH_MS);
aging(write);
goOnRemoving();
await guarded();
