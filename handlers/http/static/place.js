// Where one is and was: what is looked at stands in the address, so it survives F5 and Back and can be
// sent to somebody; how far down one was, and what was typed, is kept in the tab.
import { forTab } from "./kept.js";

// Where Pinglet is: "" or, under a prefix, that.
export const prefix = document.documentElement.dataset.prefix ?? "";

// Safari throws at more than 100 changes of the address in 30 seconds, Firefox at 200 in 10, and who
// types or holds a key down makes more. So the address follows a little later.
const WRITE_MS = 400;
let said = null; // the words that are to stand in the address, and don't yet
let writing = null;

const words = () => said ?? location.search;

export const inAddress = () => new URLSearchParams(words());

// The address as it is or will be, without its origin.
export const here = () => location.pathname + words();

function write() {
  if (said !== null) history.replaceState(history.state, "", here());
  clearTimeout(writing);
  writing = said = null;
}

// `asNew`: Back leads to what was there before.
export function sayInAddress(wanted, { asNew = false } = {}) {
  const next = wanted.size ? `?${wanted}` : "";
  if (asNew) {
    leave();
    history.pushState(keyed(), "", location.pathname + next);
    enter();
  } else {
    said = next;
    writing ??= setTimeout(write, WRITE_MS);
  }
}

// Each entry of the tab's history has a key, under which the tab keeps where one was.
const keyed = () => ({ key: Math.random().toString(36).slice(2) });

// Whether nobody was at this entry before: F5, Back and Forward lead to those that somebody was at.
export const isNew = !history.state?.key;

let key;
let place = {};      // where one was
let measure = null;  // tells where one is
let isThere = false; // until its list is there, one is still where one was

function enter() {
  if (!history.state?.key) history.replaceState(keyed(), "");
  ({ key } = history.state);
  ({ said, ...place } = JSON.parse(forTab.getItem(`place ${key}`) ?? '{"said": null}'));
  isThere = false;
  leave();
}

const note = () => forTab.setItem(`place ${key}`, JSON.stringify({ said, ...(isThere ? measure() : place) }));

function leave() {
  write();
  note();
}

enter();
// A reload has its address already, so what that lacks is noted, too. A tab that is hidden may be thrown
// away without a word.
addEventListener("pagehide", note);
document.addEventListener("visibilitychange", () => { note(); write(); });
// The address is another entry's by now: what that of the one before still lacks is noted.
addEventListener("popstate", () => { note(); enter(); });

// Which row of a list one was at, also when there is more above it than before. The browser gives up
// too early, since the list is there only after an answer. `idOf` tells the row that an element is in,
// `rowOf` finds it. Returns what to call whenever the list is there.
export function keepScroll(idOf, rowOf) {
  history.scrollRestoration = "manual";
  measure = () => {
    const id = idOf(document.elementFromPoint(innerWidth / 2, innerHeight / 2));
    return { scroll: scrollY, id, top: rowOf(id)?.getBoundingClientRect().top };
  };
  return () => {
    if (isThere) return;
    isThere = true;
    const { scroll = 0, id, top } = place;
    if (!scroll) return;
    const row = rowOf(id);
    if (row) scrollBy(0, row.getBoundingClientRect().top - top); else scrollTo(0, scroll);
  };
}

// The list as it was left, for links back to it.
const LIST = "list";
export const keepList = () => forTab.setItem(LIST, words());
export const list = () => `${prefix}/dashboard${forTab.getItem(LIST) ?? ""}`;

// What was typed into a form stands there again until it was sent; but no password and no file.
export function keepTyped(form) {
  const key = `typed into ${form.id}`;
  const value = (field) => field.type === "checkbox" ? "checked" : "value";
  for (const [name, typed] of JSON.parse(forTab.getItem(key) ?? "[]")) {
    const field = form.elements.namedItem(name);
    field[value(field)] = typed;
  }
  addEventListener("pagehide", () => {
    const fields = [...form.elements].filter(({ name, type }) => name && !["password", "file"].includes(type));
    forTab.setItem(key, JSON.stringify(fields.map((field) => [field.name, field[value(field)]])));
  });
}
