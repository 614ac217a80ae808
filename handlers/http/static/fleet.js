// The fleet: one request a refresh, however many servers there are.
import { $, age, aging, call, colour, count, fitted, h, me, ms, now, percent, prefix, set, stateMark } from "./common.js";
import { inAddress, keepList, keepScroll, sayInAddress } from "./place.js";
import { goOnRemoving } from "./removing.js";
import { fill as fillIncidents, saidOf, sinceText } from "./since.js";
import { WORDS, asked, byState, byWord, drawStates, word } from "./states.js";
import { strips } from "./strips.js";
import { firstAsked, openOf, openOnes, upToDate } from "./watch.js";

const STATES = ["up", "degraded", "down", "unobserved"];
const PAGE = 1000;
const MOST_INCIDENTS = 5;
const REFRESH_MS = 20_000;

const filter = $("#filter");
const body = $("#servers tbody");
const rows = new Map(); // id -> the row and its parts
let after = [];         // the cursors of the pages before this one
let next = null;

function query() {
  const words = new URLSearchParams({ limit: PAGE });
  for (const [name, value] of new FormData(filter)) {
    const said = name === "state" ? asked(value) : { [name]: value };
    if (value) for (const [key, part] of Object.entries(said)) words.set(key, part);
  }
  if (after.length) words.set("after", after.at(-1));
  return `servers?${words}`;
}

async function refresh() {
  const wanted = query();
  const page = await call("GET", wanted);
  if (wanted !== query()) return; // the filter has changed meanwhile
  filledAt = performance.now();
  show(page);
  await firstAsked; // a warning has its room above what one was looking at
  if (wanted === query()) scrollBack();
}

let filledAt = 0; // by performance.now: what is shown was true then
let lastRound = null;

function show(page) {
  next = page.next;
  $("#loading").hidden = true;
  const filtered = [...new FormData(filter)].some(([name, value]) => value && name !== "sort");
  const total = STATES.reduce((sum, state) => sum + (page.totals[state] ?? 0), 0);
  $("#empty").hidden = total > 0 || filtered;
  $("#nothing").hidden = page.servers.length > 0 || !filtered;
  $("#servers").hidden = page.servers.length === 0;
  for (const part of ["#summary", "#filter", "#legend"]) $(part).hidden = total === 0 && !filtered;
  $("#pager").hidden = !next && !after.length;
  $("#back").disabled = !after.length;
  $("#more").disabled = !next;
  tiles(byWord(page));
  lastRound = page.last_round;
  lastAge();
  fill(page.servers);
  renew();
}

const figures = Object.fromEntries(WORDS.map((state) => [state, h("span", { class: "figure" })]));
const sinces = { down: h("small") };
const buttons = Object.fromEntries(WORDS.map((state) => [state, h("button", {
  type: "button", class: "tile count",
  onclick: () => { filter.elements.state.value = filter.elements.state.value === state ? "" : state; restart(); },
}, h("span", { class: `mark ${state}`, "aria-hidden": "true" }), figures[state], h("span", { class: "what" }, state), sinces[state] ?? null)]));
$("#summary").append(...Object.values(buttons));

function tiles(totals) {
  for (const state of WORDS) {
    set(figures[state], count(totals[state] ?? 0));
    buttons[state].classList.toggle("none", !totals[state]);
    const pressed = filter.elements.state.value === state;
    buttons[state].setAttribute("aria-pressed", String(pressed));
    // These two are there only where there are some.
    if (["new", "paused"].includes(state)) buttons[state].hidden = !totals[state] && !pressed;
  }
}

// Above the list, whatever it is filtered by: what is open, and in each row and in the tile since when.
function incidents() {
  const { incidents: found, open } = openOnes();
  const shown = found.slice(0, MOST_INCIDENTS);
  $("#open").hidden = open === 0;
  fillIncidents($("#open .incidents"), shown);
  $("#open-more").hidden = open === shown.length;
  set($("#open-more a"), `and ${count(open - shown.length)} more`);
  for (const { server } of rows.values()) update(server);
  since();
}

// Since when something has been down without an end.
function since() {
  const down = openOnes().incidents.filter(({ kind }) => kind === "down");
  const first = down.reduce((one, other) => !one || other.opened < one.opened ? other : one, null);
  set(sinces.down, first ? sinceText(first) : "");
}

const lastAge = () => set($("#age"), lastRound && now() ? `last round ${age(lastRound)}` : "");

function fill(servers) {
  const wanted = new Set(servers.map((server) => server.id));
  for (const [id, { row, strip }] of rows) {
    if (!wanted.has(id)) { seen.unobserve(strip); row.remove(); rows.delete(id); }
  }
  const focused = document.activeElement;
  let place = body.firstElementChild;
  for (const server of servers) {
    const row = update(server);
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  // A row that moved has lost the focus.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

// A row is made once; afterwards only what has changed is set. So nothing flickers, and the focus stays.
function update(server) {
  const known = rows.get(server.id) ?? made(server);
  const open = openOf(server.id);
  const isDown = open?.kind === "down" && word(server) === "down";
  const why = [open && (isDown ? sinceText(open) : saidOf(open)), server.detail].filter(Boolean).join(" · ");
  const text = JSON.stringify([server, why]);
  if (known.text === text) return known.row;
  const drawn = JSON.stringify([server.strip_counts, server.means_ms]);
  const changed = known.drawn !== drawn;
  Object.assign(known, { server, text, drawn });
  set(known.name, server.name);
  known.name.title = server.name;
  set(known.ip, server.ip);
  tagged(known.tags, server.tags);
  if (known.state.dataset.word !== word(server)) {
    known.state.dataset.word = word(server);
    known.state.replaceChildren(stateMark(word(server)), known.why);
  }
  set(known.why, why);
  known.why.title = why;
  set(known.ms, ms(server.last_ping?.response_ms));
  known.ms.classList.toggle("muted", server.state === "unobserved");
  set(known.uptime, percent(server.uptime));
  set(known.coverage, percent(server.coverage));
  known.strip.setAttribute("aria-label", described(server));
  drawnOf.set(known.strip, server);
  if (changed && visible.has(known.strip)) draw(known.strip);
  return known.row;
}


function tagged(cell, tags) {
  const text = tags.join(" ");
  if (cell.title === text) return;
  cell.title = text; // where there is no room for all
  cell.replaceChildren(...tags.map((tag) => h("button", {
    type: "button", class: "tag", "aria-label": `Show those tagged ${tag}`,
    onclick: () => { filter.elements.tag.value = tag; restart(); },
  }, tag)));
}

// Said once more as roles, since they aren't laid out as a table.
const cell = (attributes, ...children) => h("td", { role: "cell", ...attributes }, ...children);

function made(server) {
  const parts = {
    name: h("bdi", { class: "name" }), ip: h("span", { class: "ip" }), tags: h("span", { class: "tags" }), state: cell(),
    why: h("span", { class: "why" }),
    ms: cell({ class: "number", "data-label": "round trip" }),
    strip: h("canvas", { role: "img", tabindex: -1, "aria-describedby": "keys" }),
    uptime: cell({ class: "number", "data-label": "uptime" }),
    coverage: cell({ class: "number", "data-label": "coverage" }),
  };
  parts.row = h("tr", { role: "row", "data-id": server.id },
    cell({}, h("a", { href: `${prefix}/dashboard/servers/${server.id}` }, parts.name), h("span", { class: "where" }, parts.ip, parts.tags)),
    parts.state, parts.ms, cell({ class: "wide" }, parts.strip), parts.uptime, parts.coverage);
  rows.set(server.id, parts);
  seen.observe(parts.strip);
  return parts;
}

const described = (server) =>
  `${server.name}, rounds of the last 24 hours: ${STATES.map((state) => `${count(server.counts[state])} ${state}`).join(", ")}`;

// Only what is on the screen is drawn: a thousand servers cost what twenty cost.
const drawnOf = new WeakMap(); // strip -> its server
const visible = new WeakSet();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting) { visible.add(target); draw(target); } else visible.delete(target);
  }
}, { rootMargin: "200px" });

const [LINE, GAP, CELLS] = [20, 4, 16]; // px: the sparkline's height, and the strip's below it

function draw(strip) {
  const server = drawnOf.get(strip);
  if (!server || !strip.isConnected) return;
  const context = fitted(strip);
  sparkline(context, strip.clientWidth, LINE, server.means_ms);
  drawStates(context, partsOf(server.strip_counts), strip.clientWidth, LINE + GAP, CELLS, strip.clientWidth < 300 ? 1 : 2);
}

function partsOf(each) {
  const parts = each.map((counts, index) => ({ counts: counts && byState(counts), from: index / each.length, to: (index + 1) / each.length }));
  return parts.filter(({ counts }) => counts);
}

function sparkline(context, width, height, means) {
  const known = means.filter((mean) => mean != null);
  if (known.length < 2) return;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  // A third of the time at least fills the height: a steady server's noise looks as small as it is.
  const [middle, span] = [(low + high) / 2, Math.max(high - low, high / 3)];
  const y = (mean) => height / 2 - (span ? (mean - middle) / span : 0) * (height - 3);
  context.strokeStyle = colour("accent");
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  let pen = false;
  means.forEach((mean, index) => {
    if (mean == null) { pen = false; return; }
    const x = (index + 0.5) * width / means.length;
    if (pen) context.lineTo(x, y(mean)); else context.moveTo(x, y(mean));
    pen = true;
  });
  context.stroke();
}

const redraw = () => { for (const { strip } of rows.values()) if (visible.has(strip)) draw(strip); };

// What a strip shows: of which server, and since when.
function dayOf(strip) {
  if (now() === null) return null;
  const filled = now() - (performance.now() - filledAt);
  return { server: drawnOf.get(strip), since: (Math.floor(filled / 60_000) + 1) * 60_000 - 1440 * 60_000 };
}

const renew = strips(body, dayOf);

function restart() {
  sayFilter();
  return guarded();
}

function sayFilter() {
  after = [];
  intoAddress();
}

function intoAddress(how) {
  const words = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
  for (const cursor of after) words.append("after", cursor);
  sayInAddress(words, how);
  keepList();
}

function fromAddress() {
  const words = inAddress();
  for (const field of filter.elements) {
    field.value = words.get(field.name) ?? "";
    if (field.selectedIndex === -1) field.value = "";
  }
  after = words.getAll("after");
  keepList();
}

function turn(change) {
  change();
  intoAddress({ asNew: true });
  guarded();
  scrollTo(0, 0);
}

const scrollBack = keepScroll((element) => Number(element?.closest("tr")?.dataset.id), (id) => rows.get(id)?.row);

function comeBack() {
  fromAddress();
  return guarded();
}

async function guarded() {
  if (await upToDate(refresh)) $("#loading").hidden = true;
}

let typing;
filter.addEventListener("input", () => { sayFilter(); clearTimeout(typing); typing = setTimeout(guarded, 200); });
filter.addEventListener("submit", (event) => { event.preventDefault(); restart(); });
$("#clear").addEventListener("click", () => { filter.reset(); restart(); });
// Nothing follows a page that isn't there yet, such as where Enter is held down.
$("#more").addEventListener("click", () => { if (next) turn(() => { after.push(next); next = null; }); });
$("#back").addEventListener("click", () => { if (after.length) turn(() => after.pop()); });
addEventListener("resize", () => { clearTimeout(typing); typing = setTimeout(redraw, 150); });
document.addEventListener("theme", redraw);
document.addEventListener("visibilitychange", () => { if (!document.hidden) guarded(); });
document.addEventListener("reached", guarded);
for (const change of ["asked", "zone"]) document.addEventListener(change, incidents);
aging(lastAge);
setInterval(() => { if (!document.hidden) guarded(); }, REFRESH_MS);

const token = me.open ? "" : " -H 'Authorization: Bearer TOKEN'";
$("#example").textContent = `curl -X POST ${location.origin}${prefix && `${prefix}/`}${token} -d '{"server": {"name": "web", "IP": "192.0.2.10"}}'`;
addEventListener("popstate", comeBack);
goOnRemoving(() => guarded());
await comeBack();
