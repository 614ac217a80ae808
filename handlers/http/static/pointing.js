// What a chart shows, said in words: under the pointer, by keys, and as a list below it. An outage and
// a gap have a start, an end, a length and a reason.
import { $, between, count, h, ms } from "./common.js";
import { begin, byWeight, end, kinds, shorter, stepped, told, toldOf } from "./spells.js";

const MOST_LISTED = 20;
const SHORTEST = 300_000; // ms that are shown beside a spell when one looks closer

function figures(bucket) {
  if (bucket.mean_ms == null) return [];
  return [
    `mean ${ms(bucket.mean_ms)}, p95 ${ms(bucket.p95_ms)}`,
    `best ${ms(bucket.best_ms)}, worst ${ms(bucket.worst_ms)}`,
  ];
}

const lost = ({ sent, received }) => sent ? [`${count(sent - received)} of ${count(sent)} echoes lost`] : [];

// What a bucket was: its figures, and the longest of the spells that touch it.
function saidOf(bucket, { spells, leftOff }, last) {
  const here = toldOf(bucket, spells, last);
  const { down, unobserved, degraded, due } = bucket.counts;
  const lines = [...figures(bucket), ...lost(bucket)];
  if (degraded) lines.push(`${count(degraded)} × degraded`);
  if (here.more) lines.push(shorter(here.more, "zoom in"));
  if (!here.lines.length && !due) lines.push(begin(bucket) >= last ? "still to come" : "nothing was due");
  if (!here.lines.length && down + unobserved && leftOff) lines.push(`${count(down)} × down, ${count(unobserved)} × unobserved: zoom in to see when`);
  return [
    h("strong", {}, ...between(bucket.since, bucket.until)),
    ...here.lines,
    ...lines.map((line) => h("span", {}, line)),
  ];
}

// Beside a chart, whose areas may be pointed at. `look` zooms; `shown` is called for what is there:
// {chart, buckets, spells, since, until, now}, null as long as nothing is; without a chart where it can't
// be drawn.
export function pointing({ areas, shown, look }) {
  const [tip, line, said, list] = ["#tip", "#pointed", "#said", "#spells"].map((selector) => $(selector));
  const chartArea = areas[0];
  let stood = null; // when the spell began at which the keys are

  function place(time, content) {
    const { chart } = shown();
    const inside = chart.scales.x.getPixelForValue(time);
    const x = Math.min(Math.max(inside, chart.chartArea.left), chart.chartArea.right);
    tip.replaceChildren(...content);
    tip.hidden = line.hidden = false;
    Object.assign(line.style, { left: `${x}px`, top: `${chart.chartArea.top}px`, height: `${chart.chartArea.height}px` });
    const { left, top, width } = chartArea.getBoundingClientRect();
    // On the other side of the pointer than the edge that is near, and never beyond the page's.
    const beside = x < width / 2 ? left + x + 14 : left + x - 14 - tip.offsetWidth;
    tip.style.left = `${Math.max(8, Math.min(beside, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(8, top + 8)}px`;
  }

  function hide() {
    tip.hidden = line.hidden = true;
    stood = null;
  }

  function point(event) {
    const now = shown();
    if (!now?.chart) return;
    const time = now.chart.scales.x.getValueForPixel(event.clientX - chartArea.getBoundingClientRect().left);
    const bucket = now.buckets.find((one) => begin(one) <= time && time < end(one));
    stood = null;
    if (bucket) place((begin(bucket) + end(bucket)) / 2, saidOf(bucket, now.spells, now.now)); else hide();
  }

  // From one outage or gap to the next; returns whether it was hidden or moved.
  function step(event) {
    if (event.key === "Escape" && !tip.hidden) { hide(); return true; }
    const by = event.shiftKey && { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const now = shown();
    if (!by || !now?.chart) return false;
    const { spells } = now.spells;
    if (!spells.length) { said.textContent = "No outage and no gap is shown"; return true; }
    const spell = stepped(spells, stood, by);
    place((Math.max(begin(spell), now.since) + Math.min(end(spell, now.now), now.until)) / 2, [h("div", { class: "spell" }, ...told(spell, now.now))]);
    stood = begin(spell);
    said.textContent = tip.textContent;
    return true;
  }

  function closer(since, until) {
    const beside = Math.max(until - since, SHORTEST) / 2;
    look(since - beside, until + beside);
  }

  function write() {
    const now = shown();
    const { spells, leftOff } = now.spells;
    const listed = [...spells].sort(byWeight(now.now)).slice(0, MOST_LISTED).sort((one, other) => begin(other) - begin(one));
    const more = spells.length - listed.length + leftOff;
    const focused = list.contains(document.activeElement) && document.activeElement.value;
    list.replaceChildren(...listed.map((spell) => h("li", {}, h("button", {
      type: "button", class: "spell", title: "Zoom in", value: spell.since,
      onclick: () => { chartArea.focus(); closer(begin(spell), end(spell, now.now)); },
    }, ...told(spell, now.now)))));
    if (focused) $(`[value="${focused}"]`, list)?.focus({ preventScroll: true });
    $("#spells-count").textContent = kinds(spells) || "none in this time";
    $("#spells-more").hidden = !more;
    $("#spells-more").textContent = `${count(more)} more: zoom in to see them`;
  }

  for (const area of areas) {
    for (const kind of ["pointermove", "pointerdown"]) area.addEventListener(kind, point);
    // A finger leaves as it is lifted: what it pointed at stays to be read.
    area.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType !== "touch") hide(); });
  }
  chartArea.addEventListener("blur", hide);
  addEventListener("scroll", hide, { passive: true });
  return { step, write, hide };
}
