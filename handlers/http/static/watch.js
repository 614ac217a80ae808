// How Pinglet itself fares, said on every page: above it, in its title, in its icon. A tab in the
// background goes on telling.
import { $, count, me, prefix, set } from "./common.js";
import { age, aging, heard, now } from "./time.js";

const ASK_MS = 20_000;
const ASK_HIDDEN_MS = 60_000;
const PATIENCE_MS = 10_000; // a health that takes longer is none

let health = {};
let lastRound = null; // in ms since 1970, by Pinglet's clock
let down = 0;         // of all servers, whatever a list is filtered by
let incidents = [];   // the open ones, newest first, as many as a page has
let open = 0;         // how many there are
let silent = false;   // no answer came
let trouble = null;   // why what the page shows is old
let name = document.title.split(" · ")[0];
let since = "";       // since when what the page is about is down
let askedAt = 0;

export async function ask() {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  const get = (path) => fetch(`${prefix}/api/v1/${path}`, { signal: patience.signal });
  const wasSilent = silent;
  askedAt = performance.now();
  try {
    const [told, states, found] = await Promise.all([
      get("health"), me.may && get("servers?limit=1"), me.may && get("incidents?state=open&limit=1000"),
    ]);
    const said = await told.json();
    // What stands in front of Pinglet may answer in its place, in JSON as well.
    if (Number.isNaN(Date.parse(said.now))) throw new TypeError("no answer of Pinglet's");
    health = said;
    heard(health.now);
    lastRound = health.last_round_age_s == null ? null : now() - 1000 * health.last_round_age_s;
    if (states?.ok) down = (await states.json()).totals.down ?? 0;
    if (found?.ok) ({ incidents, open } = await found.json());
    silent = false;
  } catch { silent = true; } finally { clearTimeout(timer); }
  show();
  document.dispatchEvent(new Event("asked"));
  if (wasSilent && !silent) document.dispatchEvent(new Event("reached"));
}

// What a page shows is as old as its last good answer: until there is another one it has no colour.
export async function upToDate(refresh) {
  try { await refresh(); trouble = null; } catch (problem) { trouble = problem; }
  show();
  return trouble;
}

// What was open when Pinglet was asked last: {incidents, open}, the newest of them and how many there are.
// "asked" is dispatched when that may have changed.
export const openOnes = () => ({ incidents, open });

// A server's: why it is down before what else its rules say.
export function openOf(id) {
  const all = incidents.filter(({ server }) => server?.id === id);
  return all.find(({ kind }) => kind === "down") ?? all[0];
}

// What a page is about, as its title says, and since when that is down.
export function named(words, { downSince = "" } = {}) {
  name = words;
  since = downSince;
  show();
}

const FAILS = "Rounds fail: of the newest one nothing was recorded, and the worker's log says why. Such time counts as unobserved, neither up nor down.";
const ASK_WORKER = "Is the worker running? Time without rounds counts as unobserved, neither up nor down.";
const NO_DATABASE = "Pinglet can't reach its database: nothing is saved, and nothing new is shown.";
const SILENT = "Pinglet can't be reached. What stands here is what it said last, so the marks have no colour.";

const isLate = () => health.late || health.status === "ROUNDS_LATE";
const fails = () => health.status === "ROUNDS_FAIL";

// What is announced, and what is only shown after it: who listens isn't told each second how old the
// last round is.
function warning() {
  if (silent) return [SILENT];
  if (trouble) return [`This page can't be updated: ${trouble.message}`];
  if (health.database === false) return [NO_DATABASE];
  if (fails()) return [FAILS];
  if (!isLate()) return [];
  if (lastRound === null) return [`Monitoring has not started: no round has run yet. ${ASK_WORKER}`];
  return ["Monitoring has stopped", `: the last round was ${age(lastRound)}. ${ASK_WORKER}`];
}

function show() {
  const doubt = $("#doubt");
  const [alarm = "", more = ""] = warning();
  $("#warning").hidden = !alarm;
  set($("#alarm"), alarm);
  set($("#alarm-more"), more);
  if (doubt) {
    doubt.hidden = !health.removal_waits;
    set(doubt, health.removal_waits ? `Nothing old is removed for now: ${health.removal_waits}.` : "");
  }
  document.documentElement.toggleAttribute("data-old", silent || trouble !== null);
  title();
  icon(silent || health.database === false ? "silent" : fails() || isLate() ? "late" : down ? "down" : "well");
}

function title() {
  const alarms = [
    silent && "Can't be reached",
    !silent && health.database === false && "No database",
    !silent && fails() && "Rounds fail",
    !silent && isLate() && !fails() && (lastRound === null ? "Monitoring not started" : "Monitoring stopped"),
    since || (down && `${count(down)} down`),
  ].filter(Boolean);
  const words = alarms.length && name === "Fleet" ? [...alarms, "Pinglet"] : [...alarms, name, "Pinglet"];
  const title = `${open ? `(${count(open)}) ` : ""}${words.join(" · ")}`;
  if (document.title !== title) document.title = title;
}

// The icon of static/icon.svg, with a badge that is a shape as well as a colour.
const BADGES = {
  well: "",
  down: '<circle cx="22" cy="22" r="10" fill="#d92626" stroke="#fff" stroke-width="2"/><path d="m18 18 8 8m0-8-8 8" stroke="#fff" stroke-width="3"/>',
  late: '<path d="M22 10 32 31H12Z" fill="#f0a63c" stroke="#fff" stroke-width="2"/><path d="M22 17v7m0 2.5v2" stroke="#15202b" stroke-width="2.6"/>',
  silent: '<circle cx="22" cy="22" r="8" fill="#fff" stroke="#586573" stroke-width="3"/>',
};

function icon(kind) {
  const link = $("link[rel=icon]");
  if (link.dataset.kind === kind) return;
  link.dataset.kind = kind;
  const drawn = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${kind === "silent" ? "#76828e" : "#0f766e"}"/><path d="M4 17h6l3-9 5 17 3-8h7" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/>${BADGES[kind]}</svg>`;
  link.href = `data:image/svg+xml,${encodeURIComponent(drawn)}`;
}

aging(show);
setInterval(() => {
  if (!document.hidden || performance.now() - askedAt >= ASK_HIDDEN_MS - 1000) ask();
}, ASK_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
for (const change of ["online", "offline"]) addEventListener(change, ask);
export const firstAsked = ask();
