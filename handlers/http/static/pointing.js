// What a chart shows, said in words: under the pointer, by keys, and as a list below it. An outage and
// a gap have a start, an end, a length and a reason.
import { $, between, count, counted, h, lasting, ms, stateMark } from "./common.js";

const MOST_TOLD = 3;   // of the spells of a bucket
const MOST_LISTED = 20;
const SHORTEST = 300_000; // ms that are shown beside a spell when one looks closer

const begin = (span) => Date.parse(span.since);
const end = (span, last) => span.until == null ? last : Date.parse(span.until);

const mark = (spell) => stateMark(spell.state ?? "paused");

// A spell that the window cuts off began before it.
function told(spell, shown) {
  const length = end(spell, shown.now) - begin(spell);
  const isCut = begin(spell) <= shown.since;
  // A space between them for who hears it.
  return [
    mark(spell), " ",
    h("span", {}, ...(isCut ? ["before "] : []), ...between(spell.since, spell.until)), " ",
    h("span", {}, isCut ? `${lasting(length)} at least` : lasting(length)), " ",
    h("span", { class: "reason" }, spell.detail),
  ];
}

// Outages before gaps, the longest first.
const byWeight = (last) => (one, other) =>
  (other.state === "down") - (one.state === "down") || (end(other, last) - begin(other)) - (end(one, last) - begin(one));

const touches = (spell, bucket, last) => begin(spell) < end(bucket) && end(spell, last) > begin(bucket);

function figures(bucket) {
  if (bucket.mean_ms == null) return [];
  return [
    `mean ${ms(bucket.mean_ms)}, p95 ${ms(bucket.p95_ms)}`,
    `best ${ms(bucket.best_ms)}, worst ${ms(bucket.worst_ms)}`,
  ];
}

const lost = ({ sent, received }) => sent ? [`${count(sent - received)} of ${count(sent)} echoes lost`] : [];

// What a bucket was: its figures, and the longest of the spells that touch it.
function saidOf(bucket, { spells, left_off: leftOff }, shown) {
  const here = spells.filter((spell) => touches(spell, bucket, shown.now));
  const longest = [...here].sort(byWeight(shown.now)).slice(0, MOST_TOLD);
  const more = here.length - longest.length;
  const lines = [...figures(bucket), ...lost(bucket)];
  if (bucket.counts.degraded) lines.push(`${count(bucket.counts.degraded)} × degraded`);
  if (more) lines.push(`and ${count(more)} shorter ${more === 1 ? "one" : "ones"}: zoom in to see ${more === 1 ? "it" : "them"}`);
  if (!here.length && !bucket.counts.due) lines.push(begin(bucket) >= shown.now ? "still to come" : "nothing was due");
  if (!here.length && bucket.counts.down + bucket.counts.unobserved && leftOff) lines.push(`${count(bucket.counts.down)} × down, ${count(bucket.counts.unobserved)} × unobserved: zoom in to see when`);
  return [
    h("strong", {}, ...between(bucket.since, bucket.until)),
    ...longest.map((spell) => h("div", { class: "spell" }, ...told(spell, shown))),
    ...lines.map((line) => h("span", {}, line)),
  ];
}

// Beside a chart, whose areas may be pointed at. `look` zooms; `shown` is called for what is there:
// {chart, buckets, spells, since, until, now}, null as long as nothing is; without a chart where it can't
// be drawn.
export function pointing({ areas, shown, look }) {
  const [tip, line, said, list] = ["#tip", "#pointed", "#said", "#spells"].map((selector) => $(selector));
  const chartArea = areas[0];
  let stood = null; // the spell at which the keys are

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
    if (bucket) place((begin(bucket) + end(bucket)) / 2, saidOf(bucket, now.spells, now)); else hide();
  }

  // From one outage or gap to the next; returns whether it was hidden or moved.
  function step(event) {
    if (event.key === "Escape" && !tip.hidden) { hide(); return true; }
    const by = event.shiftKey && { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const now = shown();
    if (!by || !now?.chart) return false;
    const { spells } = now.spells;
    const at = spells.findIndex((spell) => spell.since === stood);
    const next = at === -1 ? (by < 0 ? spells.length - 1 : 0) : Math.min(Math.max(at + by, 0), spells.length - 1);
    if (!spells.length) { said.textContent = "No outage and no gap is shown"; return true; }
    const spell = spells[next];
    place((Math.max(begin(spell), now.since) + Math.min(end(spell, now.now), now.until)) / 2, told(spell, now));
    stood = spell.since;
    said.textContent = tip.textContent;
    return true;
  }

  function closer(since, until) {
    const beside = Math.max(until - since, SHORTEST) / 2;
    look(since - beside, until + beside);
  }

  function write() {
    const now = shown();
    const { spells, left_off: leftOff } = now.spells;
    const listed = [...spells].sort(byWeight(now.now)).slice(0, MOST_LISTED).sort((one, other) => begin(other) - begin(one));
    const more = spells.length - listed.length + leftOff;
    const focused = list.contains(document.activeElement) && document.activeElement.value;
    list.replaceChildren(...listed.map((spell) => h("li", {}, h("button", {
      type: "button", class: "spell", title: "Zoom in", value: spell.since,
      onclick: () => { chartArea.focus(); closer(begin(spell), end(spell, now.now)); },
    }, ...told(spell, now)))));
    if (focused) $(`[value="${focused}"]`, list)?.focus({ preventScroll: true });
    const kinds = [["down", "outage"], ["unobserved", "gap"], [null, "pause"]].map(([state, noun]) => [spells.filter((spell) => spell.state === state).length, noun]);
    $("#spells-count").textContent = kinds.filter(([number]) => number).map(([number, noun]) => counted(number, noun)).join(", ") || "none in this time";
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
