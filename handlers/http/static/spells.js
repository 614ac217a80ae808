// Outages, gaps and pauses, in the same words on every page: from when to when, how long, and why.
import { between, call, count, counted, h, iso, lasting, stateMark } from "./common.js";

const MOST_TOLD = 3; // of the spells of a bucket
const KINDS = [["down", "outage"], ["unobserved", "gap"], [null, "pause"]];

export const begin = (span) => Date.parse(span.since);
export const end = (span, last) => span.until == null ? last : Date.parse(span.until);

// The spells of a server in a window, oldest first. What came before and after is asked for, too, as far
// as the server's next check: so what begins with the window is told from what began before it.
export async function spellsOf({ id, interval_s: interval }, { since, until }) {
  const beside = 1000 * interval;
  const words = new URLSearchParams({ since: iso(since - beside), until: iso(until + beside) });
  const { spells, left_off: leftOff, ...asked } = await call("GET", `servers/${id}/spells?${words}`);
  const isCut = (spell) => ({ isBefore: spell.since === asked.since, isAfter: spell.until === asked.until });
  const cut = (spell, { isBefore, isAfter }) => ({
    ...spell, isBefore, isAfter,
    since: isBefore ? iso(since) : spell.since,
    until: isAfter ? iso(until) : spell.until,
  });
  const here = spells.filter((spell) => begin(spell) < until && end(spell, Infinity) > since);
  return { spells: here.map((spell) => cut(spell, isCut(spell))), leftOff };
}

// One spell; `last` is when what lasts ends for now.
export function told(spell, last) {
  const length = lasting(end(spell, last) - begin(spell));
  // A space between them for who hears it.
  return [
    stateMark(spell.state ?? "paused"), " ",
    h("span", {}, ...between(spell.since, spell.until, spell)), " ",
    h("span", {}, spell.isBefore || spell.isAfter ? `${length} at least` : length), " ",
    h("span", { class: "reason" }, spell.detail),
  ];
}

// Outages before gaps, the longest first.
export const byWeight = (last) => (one, other) =>
  (other.state === "down") - (one.state === "down") || (end(other, last) - begin(other)) - (end(one, last) - begin(one));

// Those that touch a bucket: the longest in words, and how many aren't told.
export function toldOf(bucket, spells, last) {
  const here = spells.filter((spell) => begin(spell) < end(bucket) && end(spell, last) > begin(bucket));
  const longest = [...here].sort(byWeight(last)).slice(0, MOST_TOLD);
  return { lines: longest.map((spell) => h("div", { class: "spell" }, ...told(spell, last))), more: here.length - longest.length };
}

export const shorter = (more, how) => `and ${count(more)} shorter ${more === 1 ? "one" : "ones"}: ${how} to see ${more === 1 ? "it" : "them"}`;

// Such as "1 outage, 2 gaps"; empty where there is none.
export function kinds(spells) {
  const found = KINDS.map(([state, noun]) => [spells.filter((spell) => spell.state === state).length, noun]);
  return found.filter(([number]) => number).map(([number, noun]) => counted(number, noun)).join(", ");
}

// The next spell after the one at which the keys stood, or before it, but never beyond the first and the
// last. `stood`: when that one began; null at first.
export function stepped(spells, stood, by) {
  if (stood === null) return by < 0 ? spells.at(-1) : spells[0];
  const at = spells.findIndex((spell) => begin(spell) >= stood);
  return spells[Math.min(Math.max((at === -1 ? spells.length : at) + by, 0), spells.length - 1)];
}
