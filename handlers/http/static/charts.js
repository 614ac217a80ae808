// The chart of a server: round trips and states over a window, where incidents began, and how one looks
// closer, by dragging or by keys. A window that is looked at closer stands in the address.
import { $, call, colour, fitted, h, iso, moment, now, whenInZone } from "./common.js";
import { flagsOf } from "./flags.js";
import { inAddress, sayInAddress } from "./place.js";
import { pointing } from "./pointing.js";
import { begin, end, spellsOf } from "./spells.js";
import { drawStates } from "./states.js";
import { apart, ticksOf } from "./zone.js";

const POINTS = 360;
export const MINUTE = 60_000;
const SHORTEST = 5 * MINUTE;
const LONGEST = 2 * 365 * 1440 * MINUTE; // the API draws 800 days at most
const MOST_INCIDENTS = 1000;

const wordsOf = ({ since, until }) => new URLSearchParams({ since: iso(since), until: iso(until) });

// What there is to draw of a server in a window: {buckets, spells, incidents}. `server` is a promise of it.
export async function readChart(id, window, server) {
  const since = new URLSearchParams({ server: id, since: iso(window.since), limit: MOST_INCIDENTS });
  const [{ buckets }, { incidents }, found] = await Promise.all([
    call("GET", `servers/${id}/series?${wordsOf(window)}&points=${POINTS}`),
    call("GET", `incidents?${since}`),
    server,
  ]);
  // After the others: of a long window each is costly, and who asks has one turn at a time.
  const spells = await spellsOf(found, window);
  return { buckets, spells, incidents: incidents.filter(({ opened }) => Date.parse(opened) < window.until) };
}

const roomFor = (width) => Math.max(2, Math.min(8, Math.floor(width / 60)));

const seen = (bucket) => bucket.mean_ms != null || bucket.counts.down > 0;

function datasets(buckets) {
  const points = (of) => buckets.map((bucket) => ({ x: (begin(bucket) + end(bucket)) / 2, y: of(bucket) }));
  // Between two gaps there is no line to see: there a point stands for it.
  const alone = (index) => buckets[index - 1]?.mean_ms == null && buckets[index + 1]?.mean_ms == null;
  const radius = ({ dataIndex }) => buckets.length < 80 || alone(dataIndex) ? 2 : 0;
  return [
    { label: "worst", data: points((b) => b.worst_ms), borderWidth: 0, pointRadius: 0, pointHoverRadius: 0, fill: "+1", backgroundColor: colour("band") },
    { label: "best", data: points((b) => b.best_ms), borderWidth: 0, pointRadius: 0, pointHoverRadius: 0 },
    { label: "mean", data: points((b) => b.mean_ms), borderColor: colour("accent"), borderWidth: 1.8, pointRadius: radius, pointBackgroundColor: colour("accent"), tension: 0 },
  ];
}

// Lost echoes have no time to draw. They stand on the ground, as high as the share that got lost:
// where nothing answered, that is the whole height. Where nobody looked it is hatched.
function drawBeneath({ ctx, chartArea, scales }, { buckets, incidents }) {
  const column = (bucket, share) => {
    const left = Math.max(chartArea.left, scales.x.getPixelForValue(begin(bucket)));
    const right = Math.min(chartArea.right, scales.x.getPixelForValue(end(bucket)));
    const height = Math.max(4, share * chartArea.height);
    ctx.fillRect(left, chartArea.bottom - height, Math.max(1, right - left), height);
  };
  const lossy = buckets.filter((bucket) => bucket.received < bucket.sent);
  ctx.save();
  ctx.globalAlpha = 0.35;
  ctx.fillStyle = hatched(ctx, colour("unobserved"));
  for (const bucket of buckets) if (!seen(bucket) && bucket.counts.unobserved) column(bucket, 1);
  ctx.globalAlpha = 0.25;
  ctx.fillStyle = colour("down");
  for (const bucket of lossy) if (bucket.received === 0) column(bucket, 1);
  ctx.globalAlpha = 0.45;
  ctx.fillStyle = colour("degraded");
  for (const bucket of lossy) if (bucket.received > 0) column(bucket, 1 - bucket.received / bucket.sent);
  ctx.globalAlpha = 0.8;
  ctx.strokeStyle = colour("down");
  ctx.setLineDash([2, 3]);
  ctx.beginPath();
  for (const { opened } of incidents) {
    const x = scales.x.getPixelForValue(Date.parse(opened));
    if (x < chartArea.left) continue;
    ctx.moveTo(x, chartArea.top);
    ctx.lineTo(x, chartArea.bottom);
  }
  ctx.stroke();
  ctx.restore();
}

function hatched(context, ink) {
  const tile = h("canvas", { width: 8, height: 8 });
  const brush = tile.getContext("2d");
  brush.strokeStyle = ink;
  for (const shift of [-8, 0, 8]) { brush.moveTo(shift, 8); brush.lineTo(shift + 8, 0); }
  brush.stroke();
  return context.createPattern(tile, "repeat");
}

function options({ since, until }) {
  const muted = { color: colour("muted") };
  const grid = { color: colour("edge") };
  return {
    animation: false, maintainAspectRatio: false, spanGaps: false, normalized: true,
    events: [], // pointing.js says what is under the pointer: Chart.js knows nothing where no line is
    scales: {
      x: { type: "linear", min: since, max: until, grid: { ...grid, drawOnChartArea: false }, border: grid, afterBuildTicks: (axis) => { axis.ticks = ticksOf(since, until, roomFor(axis.width)); }, ticks: { ...muted, autoSkip: false, maxRotation: 0, callback: (_time, index, ticks) => apart(ticks[index].label) } },
      y: { beginAtZero: true, grid, border: { display: false }, ticks: { ...muted, maxTicksLimit: 6, callback: (value) => `${value} ms` } },
    },
    plugins: { legend: { display: false }, tooltip: { enabled: false } },
  };
}

// Neither npm has put it beside us, nor did the CDN give what we know.
function missing() {
  if ($("#chart").hidden) return;
  $("#chart").hidden = $(".strip").hidden = true;
  $(".chart").append(h("p", { class: "error" }, "The chart can't be drawn because Chart.js didn't load. Run ", h("code", {}, "npm ci"), " to install it."));
}

function fromAddress() {
  const [since, until] = ["since", "until"].map((name) => Date.parse(inAddress().get(name)));
  return since < until ? { since: Math.max(since, until - LONGEST), until } : null;
}

// `whole` tells the window that is shown while nobody looks closer, `words` what else stands in the
// address; `refresh` is called when another window is to be shown.
export function charts({ whole, words = () => new URLSearchParams(), refresh }) {
  let zoom = fromAddress(); // {since, until} in ms, or null for the whole window
  let there = { buckets: [], spells: { spells: [], leftOff: 0 }, incidents: [] };
  let view = null; // {since, until}: what the chart shows
  let chart = null;
  let drawn = 0;
  let strip = "";

  const windowShown = () => zoom ?? whole();

  function intoAddress() {
    const all = words();
    if (zoom) for (const [name, time] of Object.entries(zoom)) all.set(name, iso(time));
    sayInAddress(all);
  }

  // Looking closer, or with null no more.
  function show(window) {
    zoom = window;
    intoAddress();
    return refresh();
  }

  function look(since, until) {
    const last = Math.ceil(now() / MINUTE) * MINUTE;
    const length = Math.min(LONGEST, Math.max(SHORTEST, until - since));
    const to = Math.min(last, Math.ceil(until / MINUTE) * MINUTE);
    return show({ since: to - Math.round(length / MINUTE) * MINUTE, until: to });
  }

  const pointer = pointing({
    areas: [$(".chart"), $(".strip")],
    shown: () => view && { ...view, ...there, chart, now: now() },
    look,
  });

  const flags = flagsOf({ look });

  // As wide as the chart's own area, so that a state stands below its bucket, and a flag above its minute.
  function drawBeside({ chartArea: { left, width } }) {
    // The chart may be painted again for another reason, this only when it is another.
    const wanted = [left, width, drawn].join();
    if (wanted === strip) return;
    strip = wanted;
    const { since, until } = view;
    const canvas = $("#states");
    canvas.style.marginLeft = `${left}px`;
    canvas.style.width = `${width}px`;
    const share = (time) => Math.min(1, Math.max(0, (time - since) / (until - since)));
    const parts = there.buckets.map((bucket) => ({ counts: bucket.counts, from: share(begin(bucket)), to: share(end(bucket)) }));
    drawStates(fitted(canvas), parts, canvas.clientWidth, 0, canvas.clientHeight);
    flags.draw(there.incidents, { left, width, share });
  }

  const beneath = {
    id: "beneath",
    beforeDatasetsDraw: (made) => drawBeneath(made, there),
    afterRender: drawBeside,
  };

  function draw(window, found = there) {
    const isElsewhere = !view || Math.max(Math.abs(window.since - view.since), Math.abs(window.until - view.until)) > MINUTE;
    if (isElsewhere) pointer.hide();
    there = found;
    view = window;
    drawn += 1;
    $("#out").hidden = !zoom;
    const { since, until } = view;
    $("#window").replaceChildren(moment(since, whenInZone), " to ", moment(until, whenInZone));
    pointer.write();
    if (!globalThis.Chart) { missing(); return; }
    const made = { data: { datasets: datasets(there.buckets) }, options: options(view) };
    if (chart) { Object.assign(chart, made); chart.update("none"); }
    else {
      Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
      chart = new Chart($("#chart"), { type: "line", plugins: [beneath], ...made });
    }
    $("#window").dataset.minutes = (until - since) / MINUTE;
  }

  function byKey(event) {
    if (now() === null) return; // what is shown has no end yet
    if (pointer.step(event)) { event.preventDefault(); return; }
    const { since, until } = windowShown();
    const quarter = (until - since) / 4;
    if (event.key === "Escape") { if (zoom) show(null); return; }
    const moves = {
      ArrowLeft: [-quarter, -quarter], ArrowRight: [quarter, quarter],
      "+": [quarter, -quarter], "-": [-2 * quarter, 2 * quarter],
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    look(since + move[0], until + move[1]);
  }

  // With a mouse, a pen or a finger; a finger that moves up or down scrolls the page.
  function selecting() {
    const area = $(".chart");
    const mark = h("div", { class: "selection", hidden: true });
    area.append(mark);
    let from = null;
    const at = (event) => Math.min(Math.max(event.clientX - area.getBoundingClientRect().left, chart.chartArea.left), chart.chartArea.right);
    const over = () => { mark.hidden = true; from = null; };
    area.addEventListener("pointerdown", (event) => {
      if (!chart || event.button !== 0 || !event.isPrimary) return;
      from = at(event);
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [low, high] = [Math.min(from, at(event)), Math.max(from, at(event))];
      mark.hidden = high - low < 4;
      mark.style.left = `${low}px`;
      mark.style.width = `${high - low}px`;
    });
    area.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [low, high] = [from, at(event)].sort((a, b) => a - b);
      over();
      if (high - low < 4) return; // a click
      look(chart.scales.x.getValueForPixel(low), chart.scales.x.getValueForPixel(high));
    });
    area.addEventListener("pointercancel", over);
    area.addEventListener("dblclick", () => { if (zoom) show(null); });
  }

  $("#out").addEventListener("click", () => { $(".chart").focus(); show(null); });
  $(".chart").addEventListener("keydown", byKey);
  for (const change of ["theme", "zone"]) document.addEventListener(change, () => { if (view) draw(view); });
  selecting();
  return { windowShown, draw, show };
}
