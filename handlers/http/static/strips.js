// What the strips of a list show, said in words: under the pointer and by keys. When an outage or a gap
// began and ended is asked for where somebody points, once until the list is read anew.
import { $, between, h, iso, ms, now, stateMark } from "./common.js";
import { begin, end, kinds, shorter, spellsOf, stepped, told, toldOf } from "./spells.js";
import { byState } from "./states.js";

const DAY_MS = 86_400_000;
const PARTS = 48; // of a day: half hours
const PART_MIN = 30;
const WHOLE = [0, 1];
const REST_MS = 150; // whoever only passes a row isn't there to look at it
const THROUGH = "← → through them, ";
const KEYS = "↑ ↓ other servers, Esc leaves";

const rest = () => new Promise((done) => { setTimeout(done, REST_MS); });

// That is ours, and no outage.
const failed = ({ message }) => `Outages and gaps can't be shown now: ${message}`;

// Such as "up", or "29 up, 1 down".
function states(counts) {
  if (!counts) return ["nothing was due"];
  const there = Object.entries(byState(counts)).filter(([, number]) => number);
  return there.map(([state, number]) => stateMark(state, there.length > 1 ? `${number} ${state}` : state));
}

// Where each minute had an answer there is nothing to ask for.
const isAnswered = ({ up, degraded }, minutes) => up + degraded === minutes;

// Strips are the canvases in the rows of `body`. `dayOf` tells what one shows: {server, since}, null where
// that can't be said. Returns what to call once the list was read anew.
export function strips(body, dayOf) {
  const [tip, frame, said] = ["#tip", "#pointed", "#said"].map((selector) => $(selector));
  let known = new Map(); // what was asked, by server
  let here = null;       // what is told: {strip, part, x, y} under the pointer, {strip, stood} by keys
  let entry = null;      // the one strip at which the Tab key stops

  async function spelled({ server, since }) {
    if (isAnswered(server.counts, 1440)) return { spells: [] };
    const asked = known;
    if (!asked.has(server.id)) asked.set(server.id, spellsOf(server, { since, until: since + DAY_MS }));
    try { return await asked.get(server.id); } catch (problem) {
      asked.delete(server.id); // whoever points there again asks again
      return { problem };
    }
  }

  // Above what it tells of, or below.
  function place() {
    const area = here.strip.getBoundingClientRect();
    const [left, right] = here.shares.map((share) => area.left + Math.min(Math.max(share, 0), 1) * area.width);
    Object.assign(frame.style, { left: `${left - 2}px`, top: `${area.top - 2}px`, width: `${right - left + 4}px`, height: `${area.height + 4}px` });
    const above = area.top - tip.offsetHeight - 6;
    const most = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min((left + right - tip.offsetWidth) / 2, most))}px`;
    tip.style.top = `${above < 8 ? area.bottom + 6 : above}px`;
  }

  function show(content, shares) {
    tip.replaceChildren(...content);
    tip.hidden = false;
    frame.hidden = shares === WHOLE;
    here.shares = shares;
    place();
  }

  function hide() {
    tip.hidden = frame.hidden = true;
    here = null;
  }

  const isByPointer = () => here?.part !== undefined;

  // Under the pointer

  function under({ target, clientX: x, clientY: y }) {
    const strip = target?.closest?.("tbody tr")?.querySelector("canvas");
    const area = strip?.getBoundingClientRect();
    const isOver = area && x >= area.left && x < area.right && y >= area.top && y <= area.bottom;
    return isOver ? { strip, x, y, part: Math.floor((x - area.left) / area.width * PARTS) } : null;
  }

  function point(event) {
    const found = under(event);
    if (found && (found.strip !== here?.strip || found.part !== here.part)) tellPart(found);
    else if (!found && isByPointer()) hide();
  }

  async function tellPart(found, { isAgain = false } = {}) {
    const day = dayOf(found.strip);
    if (!day) { hide(); return; }
    here = found;
    const counts = day.server.strip_counts[found.part];
    if (counts && isAnswered(byState(counts), PART_MIN)) { showPart(day); return; }
    if (!isAgain && !known.has(day.server.id)) {
      showPart(day);
      await rest();
      if (here !== found) return;
    }
    const answer = await spelled(day);
    if (here === found) showPart(day, answer);
  }

  function showPart({ server, since }, found = { spells: [] }) {
    const { part } = here;
    const shares = [part / PARTS, (part + 1) / PARTS];
    const [from, until] = shares.map((share) => iso(since + share * DAY_MS));
    const mean = server.means_ms[part];
    show([
      h("strong", {}, ...between(from, until)),
      ...linesOf({ since: from, until }, found),
      h("span", { class: "row" }, ...states(server.strip_counts[part]), mean == null ? null : h("span", {}, ms(mean))),
    ], shares);
  }

  function linesOf(bucket, { spells, problem }) {
    if (problem) return [h("span", {}, failed(problem))];
    const { lines, more } = toldOf(bucket, spells, now());
    return more ? [...lines, h("span", {}, shorter(more, "open the server"))] : lines;
  }

  // By keys: in the row of a server, from its link or from its strip

  function press(event) {
    const row = event.target.closest("tr");
    if (!row || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const stripOf = (one) => one?.querySelector("canvas");
    const strip = stripOf(row);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const goals = { Escape: row.querySelector("a"), ArrowUp: stripOf(row.previousElementSibling), ArrowDown: stripOf(row.nextElementSibling) };
    if (by) { strip.focus(); step(strip, by); }
    else if (document.activeElement === strip && event.key in goals) goals[event.key]?.focus();
    else return;
    event.preventDefault();
  }

  function stopAt(strip) {
    if (entry) entry.tabIndex = -1;
    entry = strip;
    if (entry) entry.tabIndex = 0;
  }

  async function enter(strip) {
    stopAt(strip);
    hide();
    const there = here = { strip, stood: null };
    await rest();
    const day = here === there && dayOf(strip);
    if (!day) return;
    const found = await spelled(day);
    if (here === there) tellAll(found);
  }

  function tellAll({ spells = [], problem }) {
    const all = kinds(spells);
    said.textContent = problem ? failed(problem) : `${all || "No outage and no gap"} in these 24 hours`;
    show([h("span", {}, said.textContent), h("span", {}, all ? THROUGH : "", KEYS)], WHOLE);
  }

  // To the next spell, or with `by` 0 to the one at which the keys stand.
  async function step(strip, by) {
    const day = dayOf(strip);
    const found = day && await spelled(day);
    if (!day || document.activeElement !== strip) return;
    const stood = here?.strip === strip ? here.stood ?? null : null;
    here = { strip, stood };
    if (!found.spells?.length) { tellAll(found); return; }
    const spell = stepped(found.spells, stood, by);
    here.stood = begin(spell);
    const shares = [begin(spell), end(spell, now())].map((time) => (time - day.since) / DAY_MS);
    show([h("div", { class: "spell" }, ...told(spell, now()))], shares);
    if (by) said.textContent = tip.textContent;
  }

  function renew() {
    known = new Map();
    if (!entry?.isConnected) stopAt($("canvas", body));
    if (!here) return;
    if (!here.strip.isConnected) hide();
    else if (isByPointer()) pointAgain(here);
    else if (here.stood !== null) step(here.strip, 0);
    else if (here.shares) place();
  }

  // Rows may have moved below it.
  function pointAgain({ strip, part, x, y }) {
    const found = under({ target: document.elementFromPoint(x, y), clientX: x, clientY: y });
    if (found) tellPart(found, { isAgain: found.strip === strip && found.part === part }); else hide();
  }

  body.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  // A finger leaves as it is lifted: what it pointed at stays to be read, and leads nowhere.
  body.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType !== "touch" && isByPointer()) hide(); });
  body.addEventListener("click", (event) => { if (event.pointerType === "touch" && under(event)) event.preventDefault(); });
  body.addEventListener("keydown", press);
  body.addEventListener("focusin", ({ target }) => { if (target.matches("canvas")) enter(target); });
  body.addEventListener("focusout", ({ target }) => { if (target === here?.strip && !isByPointer()) hide(); });
  for (const moved of ["scroll", "resize"]) addEventListener(moved, () => { if (isByPointer()) hide(); else if (here?.shares) place(); }, { passive: true });
  document.addEventListener("zone", hide);
  return renew;
}
