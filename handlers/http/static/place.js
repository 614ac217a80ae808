// Where one is and was: what is looked at stands in the address, so it survives F5 and Back and can be
// sent to somebody; how far down one was, and what was typed, is kept in the tab.
import { prefix } from "./common.js";
import { forTab } from "./kept.js";

export const inAddress = () => new URLSearchParams(location.search);

// `asNew`: Back leads to what was there before.
export function sayInAddress(words, { asNew = false } = {}) {
  const address = words.size ? `?${words}` : location.pathname;
  if (asNew) history.pushState(null, "", address); else history.replaceState(history.state, "", address);
}

// Which row of a list one was at, also when there is more above it than before. The browser gives up
// too early, since the list is there only after an answer. `idOf` tells the row that an element is in,
// `rowOf` finds it. Returns what to call once the list is there.
export function keepScroll(idOf, rowOf) {
  history.scrollRestoration = "manual";
  let noting;
  const note = () => {
    clearTimeout(noting);
    const id = idOf(document.elementFromPoint(innerWidth / 2, innerHeight / 2));
    history.replaceState({ scroll: scrollY, id, top: rowOf(id)?.getBoundingClientRect().top }, "");
  };
  addEventListener("scroll", () => { clearTimeout(noting); noting = setTimeout(note, 100); }, { passive: true });
  for (const leads of ["click", "keydown", "pagehide"]) addEventListener(leads, note, true);
  addEventListener("popstate", () => clearTimeout(noting)); // that was another entry's
  return () => {
    const { scroll = 0, id, top } = history.state ?? {};
    if (!scroll) return;
    const row = rowOf(id);
    if (row) scrollBy(0, row.getBoundingClientRect().top - top); else scrollTo(0, scroll);
  };
}

// The list as it was left, for links back to it.
const LIST = "list";
export const keepList = () => forTab.setItem(LIST, location.search);
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
