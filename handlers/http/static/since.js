// What is said of an incident on every page: since when or from when to when it was, why, and who looks
// after it.
import { $, between, counted, h, lasting, lately, moment, now, prefix } from "./common.js";

export const isOpen = ({ state }) => state === "open";

export const addressOf = ({ id }) => `${prefix}/dashboard/incidents/${id}`;

const serverAt = ({ server }) => `${prefix}/dashboard/servers/${server.id}`;

const length = ({ opened, resolved }) => lasting((resolved ? Date.parse(resolved) : now()) - Date.parse(opened));

// Of what an incident is, in words: a server's name, or what the servers of a group have in common.
const WORDS = {
  server: ({ server }) => server.name,
  parent: ({ parent, servers }) => `${counted(servers, "server")} behind ${parent.name}`,
  tag: ({ tag, servers }) => `${counted(servers, "server")} with the tag ${tag}`,
  network: ({ network, servers }) => `${counted(servers, "server")} in ${network}`,
  all: ({ servers }) => `${counted(servers, "server")} of the fleet`,
  us: () => "Our own network",
};
export const wordsOf = (one) => WORDS[one.extent](one);

const nameOf = (one) => h("bdi", {}, wordsOf(one));

// Its server by name, as a link while there is one.
export const linkOf = (one, more = {}) =>
  !one.server?.id ? nameOf(one) : h("a", { href: serverAt(one), ...more }, nameOf(one));

// Such as "since 10:02 (7 min)"; what is over tells from when to when.
const sinceOf = (one) => isOpen(one)
  ? ["since ", moment(one.opened, lately), ` (${length(one)})`]
  : [...between(one.opened, one.resolved, { write: lately }), ` (${length(one)})`];

// What was bad, in a word, and its mark, by what the rule looked at.
const KINDS = {
  down: ["down", "down"],
  loss_pct: ["losing echoes", "degraded"],
  p95_ms: ["slow", "degraded"],
  coverage_pct: ["unobserved", "unobserved"],
};

// The same with its word before it.
export const told = (one) => [`${KINDS[one.kind][0]} `, ...sinceOf(one)];

const asText = (nodes) => h("span", {}, ...nodes).textContent;

export const saidOf = (one) => asText(told(one));
export const sinceText = (one) => asText(sinceOf(one));

const OVER = {
  hand: "resolved by hand",
  paused: "its server was paused",
  removed: "its server was removed",
  rule: "its rule no longer holds",
  group: "goes on with its group",
};

const HELD = { maintenance: "in maintenance", parent: "its parent is down" };

// Nobody looks after it any longer than that.
const isLookedAfter = ({ acked_by: who, acked_until: until }) => who !== null && (until === null || now() < Date.parse(until));

export function chipsOf(one) {
  const chip = (...words) => h("span", { class: "chip" }, ...words);
  return [
    one.flapping ? chip("flapping") : null,
    one.held ? chip(HELD[one.held]) : null,
    isLookedAfter(one) ? chip(h("bdi", {}, one.acked_by), " looks after it", ...(one.acked_until ? [" until ", moment(one.acked_until, lately)] : [])) : null,
    one.how in OVER ? chip(OVER[one.how]) : null,
    one.rule === "default" ? null : chip(h("bdi", {}, one.rule)),
    one.severity === "critical" ? null : chip(one.severity),
  ].filter(Boolean);
}

export const markOf = (one) => isOpen(one) ? KINDS[one.kind][1] : "over";

function row(one, isNamed) {
  const why = one.detail ?? one.reason ?? "";
  return h("li", {},
    h("span", { class: `mark ${markOf(one)}`, "aria-hidden": "true" }),
    isNamed ? h("span", { class: "title" }, linkOf(one, { "data-link": `server of ${one.id}` })) : null, " ",
    h("a", { class: "when", href: addressOf(one), "data-link": String(one.id) }, ...told(one)), " ",
    h("span", { class: "why", title: why }, why), " ",
    h("span", { class: "chips" }, ...chipsOf(one)));
}

// A list of them, with the names of their servers. What says the same stays, so that nobody who reads or
// selects it is disturbed.
export function fill(list, incidents, { isNamed = true } = {}) {
  const rows = incidents.map((one) => row(one, isNamed));
  const told = (all) => all.map((one) => one.outerHTML).join();
  if (told(rows) === told([...list.children])) return;
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.link;
  list.replaceChildren(...rows);
  if (focused) $(`[data-link="${focused}"]`, list)?.focus({ preventScroll: true });
}
