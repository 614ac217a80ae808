// Where incidents began, as flags above a chart: each leads to its incident. Where there is no room for
// each, one stands for several, and looks closer.
import { $, counted, h } from "./common.js";
import { addressOf, saidOf } from "./since.js";

const FLAG_PX = 26;
const BESIDE_MS = 300_000; // that is shown beside several

// Those that are too near to each other, together; `at` tells where one is.
function heaps(incidents, at) {
  const found = [];
  for (const one of incidents) {
    const last = found.at(-1);
    if (last && at(one) - at(last[0]) < FLAG_PX) last.push(one); else found.push([one]);
  }
  return found;
}

const openedAt = ({ opened }) => Date.parse(opened);

export function flagsOf({ look }) {
  const strip = $("#flags");

  function flag(heap) {
    const icon = h("span", { class: "flag", "aria-hidden": "true" });
    if (heap.length === 1) {
      const words = `Incident: ${saidOf(heap[0])}`;
      return h("a", { href: addressOf(heap[0]), title: words, "aria-label": words }, icon);
    }
    const words = `${counted(heap.length, "incident")}: look closer`;
    const [first, last] = [heap[0], heap.at(-1)].map(openedAt);
    return h("button", { type: "button", title: words, "aria-label": words, onclick: () => { $(".chart").focus(); look(first - BESIDE_MS, last + BESIDE_MS); } }, icon, String(heap.length));
  }

  // `share` tells where a time is on the `width` of the chart's area, which begins at `left`.
  function draw(incidents, { left, width, share }) {
    const at = (one) => share(openedAt(one)) * width;
    const all = heaps([...incidents].sort((one, other) => openedAt(one) - openedAt(other)), at);
    const focused = strip.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    strip.hidden = all.length === 0;
    strip.replaceChildren(...all.map(flag));
    for (const [place, { style, offsetWidth }] of [...strip.children].entries()) {
      style.left = `${Math.min(left + at(all[place][0]), strip.clientWidth - offsetWidth)}px`;
    }
    if (focused) [...strip.children].find((one) => one.getAttribute("aria-label") === focused)?.focus({ preventScroll: true });
  }

  return { draw };
}
