// Incidents, the newest first: of a time, of some servers, open or over. All of that is in the address.
import { $, call, count, h, iso, lastEvening, moment, now, set, whenInZone } from "./common.js";
import { inAddress, sayInAddress } from "./place.js";
import { goOnRemoving } from "./removing.js";
import { fill } from "./since.js";
import { firstAsked, upToDate } from "./watch.js";

const PAGE = 100;
const REFRESH_MS = 20_000;
const HOUR = 3_600_000;
const COMMON = "7d";

// What a time is called in the address: its label, and since when it is.
const TIMES = {
  night: ["Last night", lastEvening],
  "24h": ["24 h", () => now() - 24 * HOUR],
  "7d": ["7 d", () => now() - 7 * 24 * HOUR],
  "30d": ["30 d", () => now() - 30 * 24 * HOUR],
  all: ["All", () => null],
};

const filter = $("#filter");
let time = COMMON;
let before = []; // the cursors of the pages before this one
let next = null;
let shown = [];

// Since when, in ms since 1970; null for all there is. An address may also say a time as such.
const since = () => time in TIMES ? TIMES[time][1]() : Date.parse(time);

function query() {
  const words = new URLSearchParams({ limit: PAGE });
  for (const [name, value] of new FormData(filter)) if (value) words.set(name, value);
  if (before.length) words.set("before", before.at(-1));
  return words;
}

async function refresh() {
  await firstAsked; // what is 24 hours ago is for Pinglet's clock to say
  const wanted = query();
  const from = since();
  if (from !== null) wanted.set("since", iso(from));
  const asked = [time, query()].join();
  const page = await call("GET", `incidents?${wanted}`);
  if (asked !== [time, query()].join()) return; // another time or filter was chosen meanwhile
  show(page);
}

function show(page) {
  ({ next, incidents: shown } = page);
  set($("#open-count"), page.open ? `${count(page.open)} open` : "none is open");
  $("#nothing").hidden = shown.length > 0;
  $("#incidents").hidden = shown.length === 0;
  $("#pager").hidden = !next && !before.length;
  $("#back").disabled = !before.length;
  $("#more").disabled = !next;
  write();
}

function write() {
  fill($("#incidents"), shown);
  const from = since();
  $("#window").replaceChildren(...(from === null ? ["all that is kept"] : ["since ", moment(from, whenInZone)]));
  for (const button of $("#ranges").children) button.setAttribute("aria-pressed", String(button.value === time));
}

function intoAddress(how) {
  const words = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
  if (time !== COMMON) words.set("since", time);
  for (const cursor of before) words.append("before", cursor);
  sayInAddress(words, how);
}

function fromAddress() {
  const words = inAddress();
  for (const field of filter.elements) {
    field.value = words.get(field.name) ?? "";
    if (field.selectedIndex === -1) field.value = "";
  }
  const said = words.get("since");
  time = said in TIMES || !Number.isNaN(Date.parse(said)) ? said ?? COMMON : COMMON;
  before = words.getAll("before");
}

const guarded = () => upToDate(refresh);

function restart() {
  before = [];
  intoAddress();
  return guarded();
}

function turn(change) {
  change();
  intoAddress({ asNew: true });
  guarded();
  scrollTo(0, 0);
}

function choose(chosen) {
  time = chosen;
  restart();
}

$("#ranges").append(...Object.entries(TIMES).map(([value, [label]]) => h("button", { type: "button", value, onclick: () => choose(value) }, label)));

let typing;
filter.addEventListener("input", () => { before = []; intoAddress(); clearTimeout(typing); typing = setTimeout(guarded, 200); });
filter.addEventListener("submit", (event) => { event.preventDefault(); restart(); });
$("#clear").addEventListener("click", () => { filter.reset(); choose("all"); });
$("#more").addEventListener("click", () => { if (next) turn(() => { before.push(next); next = null; }); });
$("#back").addEventListener("click", () => { if (before.length) turn(() => before.pop()); });
for (const change of ["zone", "reached"]) document.addEventListener(change, guarded);
document.addEventListener("visibilitychange", () => { if (!document.hidden) guarded(); });
setInterval(() => { if (!document.hidden) guarded(); }, REFRESH_MS);
addEventListener("popstate", () => { fromAddress(); guarded(); });

fromAddress();
goOnRemoving();
await guarded();
