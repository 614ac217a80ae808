// One server: its chart, its figures, and what can be done to it.
import { $, call, colour, drawStates, fitted, h, lossShare, ms, now, onSubmit, percent, runs, stateMark, toast, when, whoami } from "./common.js";

const id = Number(location.pathname.split("/").at(-1));
const RANGES = { "1 h": 3600, "6 h": 21600, "24 h": 86400, "7 d": 604800, "30 d": 2592000, "90 d": 7776000, "1 y": 31536000 };
const POINTS = 360;
const REFRESH_MS = 30_000;

let server = null;
let range = "24 h";
let zoom = null; // {since, until} in ms, or null for the whole range
let buckets = [];
let asked = 0;

const iso = (time) => new Date(time).toISOString().replace(/\.\d+Z$/, "Z");

function windowShown() {
  if (zoom) return zoom;
  const until = Math.floor(now() / MINUTE) * MINUTE + MINUTE;
  return { since: until - RANGES[range] * 1000, until };
}

async function refresh() {
  const { since, until } = windowShown();
  const words = new URLSearchParams({ since: iso(since), until: iso(until) });
  const turn = ++asked;
  const [shown, summary, series] = await Promise.all([
    call("GET", `servers/${id}`),
    call("GET", `servers/${id}/summary?${words}`),
    call("GET", `servers/${id}/series?${words}&points=${POINTS}`),
  ]);
  if (turn !== asked) return; // another range was chosen meanwhile
  server = shown;
  buckets = series.buckets;
  heading();
  figures(summary);
  draw(since, until);
}

function heading() {
  document.title = `${server.name} · Pinglet`;
  $("#name").textContent = server.name;
  $("#mark").className = `mark ${server.state}`;
  const probe = server.probe === "auto" ? "" : `, ${server.probe}`;
  $("#address").textContent = `${server.ip}${server.port ? `:${server.port}` : ""}${probe}, ${server.enabled ? server.state : "paused"}, ${every(server.interval_s / 60)}`;
  $("#pause").textContent = server.enabled ? "Pause" : "Resume";
}

const every = (minutes) => minutes === 1 ? "every minute" : minutes % 60 ? `every ${minutes} minutes` : minutes === 60 ? "every hour" : `every ${minutes / 60} hours`;

function figures(summary) {
  const shown = {
    Uptime: [percent(summary.uptime), "of what we saw"],
    Coverage: [percent(summary.coverage), `${summary.counts.unobserved} of ${summary.counts.due} rounds unobserved`],
    Median: [ms(summary.p50_ms), "p50"],
    "95th percentile": [ms(summary.p95_ms), "p95"],
    "99th percentile": [ms(summary.p99_ms), "p99"],
    "Echoes lost": [lossShare(summary.lost_share), `${summary.sent - summary.received} of ${summary.sent}`],
  };
  $("#figures").replaceChildren(...Object.entries(shown).map(([name, [figure, more]]) =>
    h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, figure, h("small", {}, more)))));
  const { up, degraded, down, unobserved } = summary.counts;
  $("#chart").setAttribute("aria-label", `Round trips: median ${ms(summary.p50_ms)}, best ${ms(summary.best_ms)}, worst ${ms(summary.worst_ms)}`);
  $("#states").setAttribute("aria-label", `States: ${up} rounds up, ${degraded} degraded, ${down} down, ${unobserved} unobserved`);
}

// The chart

let chart = null;

const MINUTE = 60_000;
const TICKS_MIN = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 20160, 43200];

// Round local times, eight at most.
function ticksOf(since, until) {
  const step = (TICKS_MIN.find((minutes) => (until - since) / MINUTE / minutes <= 8) ?? 86400) * MINUTE;
  const shift = new Date(since).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let at = Math.ceil((since - shift) / step) * step + shift; at <= until; at += step) found.push({ value: at });
  return found;
}

function tick(time, span) {
  const date = new Date(time);
  if (span <= 2 * 86400e3) return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
}

function worst(counts) {
  if (counts.down) return "down";
  if (counts.degraded) return "degraded";
  if (counts.unobserved > counts.up) return "unobserved";
  return counts.up ? "up" : null;
}

const start = (bucket) => Date.parse(bucket.since);
const end = (bucket) => Date.parse(bucket.until);

function points(of) {
  return buckets.map((bucket) => ({ x: (start(bucket) + end(bucket)) / 2, y: of(bucket) }));
}

// Between two gaps there is no line to see: there a point stands for it.
const alone = (index) => buckets[index - 1]?.mean_ms == null && buckets[index + 1]?.mean_ms == null;
const radius = ({ dataIndex }) => buckets.length < 80 || alone(dataIndex) ? 2 : 0;

function datasets() {
  const lossy = (bucket) => bucket.sent > bucket.received && bucket.mean_ms != null;
  return [
    { label: "worst", data: points((b) => b.worst_ms), borderWidth: 0, pointRadius: 0, fill: "+1", backgroundColor: colour("band") },
    { label: "best", data: points((b) => b.best_ms), borderWidth: 0, pointRadius: 0 },
    { label: "mean", data: points((b) => b.mean_ms), borderColor: colour("accent"), borderWidth: 1.8, pointRadius: radius, pointBackgroundColor: colour("accent"), tension: 0 },
    { label: "echoes lost", data: points((b) => lossy(b) ? b.mean_ms : null), showLine: false, pointStyle: "triangle", pointRadius: 3, pointBackgroundColor: colour("degraded"), borderColor: colour("degraded") },
  ];
}

// Where nothing answered there is no time to draw: the whole height is marked instead.
const outages = {
  id: "outages",
  beforeDatasetsDraw({ ctx, chartArea, scales }) {
    ctx.save();
    ctx.globalAlpha = 0.22;
    ctx.fillStyle = colour("down");
    for (const bucket of buckets) {
      if (!bucket.counts.down || bucket.mean_ms != null) continue;
      const left = Math.max(chartArea.left, scales.x.getPixelForValue(start(bucket)));
      const right = Math.min(chartArea.right, scales.x.getPixelForValue(end(bucket)));
      ctx.fillRect(left, chartArea.top, Math.max(1, right - left), chartArea.height);
    }
    ctx.restore();
  },
};

function options(since, until) {
  const muted = { color: colour("muted") };
  const grid = { color: colour("edge") };
  return {
    animation: false, maintainAspectRatio: false, spanGaps: false, normalized: true,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: { type: "linear", min: since, max: until, grid, afterBuildTicks: (axis) => { axis.ticks = ticksOf(since, until); }, ticks: { ...muted, maxTicksLimit: 8, maxRotation: 0, callback: (time) => tick(time, until - since) } },
      y: { beginAtZero: true, grid, ticks: { ...muted, callback: (value) => `${value} ms` } },
    },
    plugins: { legend: { display: false }, tooltip: { callbacks: { title, label: () => null, afterBody } } },
  };
}

function draw(since, until) {
  $("#out").hidden = !zoom;
  const made = { data: { datasets: datasets() }, options: options(since, until) };
  if (chart) { Object.assign(chart, made); chart.update("none"); }
  else chart = new Chart($("#chart"), { type: "line", plugins: [outages], ...made });
  drawStrip(since, until);
  const moment = (time) => h("time", { datetime: iso(time) }, when(time));
  $("#window").replaceChildren(moment(since), " to ", moment(until));
  $("#window").dataset.minutes = (until - since) / MINUTE;
}

const title = (items) => items.length ? when(start(buckets[items[0].dataIndex])) : "";

function afterBody(items) {
  const bucket = buckets[items[0].dataIndex];
  const lost = bucket.sent - bucket.received;
  return [
    `mean ${ms(bucket.mean_ms)}, p95 ${ms(bucket.p95_ms)}`,
    `best ${ms(bucket.best_ms)}, worst ${ms(bucket.worst_ms)}`,
    `${lost} of ${bucket.sent} echoes lost`,
    ...["degraded", "down", "unobserved"].filter((state) => bucket.counts[state]).map((state) => `${bucket.counts[state]} × ${state}`),
  ];
}

// As wide as the chart's own area, so that a state stands below its bucket.
function drawStrip(since, until) {
  const canvas = $("#states");
  canvas.style.marginLeft = `${chart.chartArea.left}px`;
  canvas.style.width = `${chart.chartArea.width}px`;
  const share = (time) => Math.min(1, Math.max(0, (time - since) / (until - since)));
  const spans = buckets.map((bucket) => ({ state: worst(bucket.counts), from: share(start(bucket)), to: share(end(bucket)) }));
  const rank = [null, "up", "unobserved", "degraded", "down"];
  // The worst last: the least minute of it is a pixel wide, and isn't painted over.
  const found = runs(spans).sort((one, other) => rank.indexOf(one.state) - rank.indexOf(other.state));
  drawStates(fitted(canvas), found, canvas.clientWidth, 0, canvas.clientHeight);
}

// Looking closer: by dragging, or by keys

const SHORTEST = 5 * MINUTE;

function look(since, until) {
  const last = Math.ceil(now() / MINUTE) * MINUTE;
  const length = Math.max(SHORTEST, until - since);
  const to = Math.min(last, Math.ceil(until / MINUTE) * MINUTE);
  zoom = { since: to - Math.round(length / MINUTE) * MINUTE, until: to };
  return guarded();
}

function byKey(event) {
  const { since, until } = windowShown();
  const quarter = (until - since) / 4;
  const moves = {
    ArrowLeft: [-quarter, -quarter], ArrowRight: [quarter, quarter],
    "+": [quarter, -quarter], "-": [-2 * quarter, 2 * quarter],
  };
  if (event.key === "Escape") { zoom = null; guarded(); return; }
  const move = moves[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  look(since + move[0], until + move[1]);
}

function selecting() {
  const area = $(".chart");
  const mark = h("div", { class: "selection", hidden: true });
  area.append(mark);
  let from = null;
  const at = (event) => Math.min(Math.max(event.clientX - area.getBoundingClientRect().left, chart.chartArea.left), chart.chartArea.right);
  area.addEventListener("pointerdown", (event) => { if (chart && event.pointerType === "mouse") { from = at(event); area.setPointerCapture(event.pointerId); } });
  area.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const [low, high] = [Math.min(from, at(event)), Math.max(from, at(event))];
    mark.hidden = high - low < 4;
    mark.style.left = `${low}px`;
    mark.style.width = `${high - low}px`;
  });
  area.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const pressed = from;
    const times = [from, at(event)].sort((a, b) => a - b).map((x) => chart.scales.x.getValueForPixel(x));
    mark.hidden = true;
    from = null;
    if (Math.abs(at(event) - pressed) < 4) return; // a click
    look(...times);
  });
}

// What can be done

async function pingNow() {
  const box = $("#echoes");
  box.hidden = false;
  box.textContent = "Four echoes are out …";
  $("#ping").disabled = true;
  try {
    const found = await call("POST", `servers/${id}/ping`, {});
    box.replaceChildren(h("div", { class: "row" }, stateMark(found.state), h("strong", {}, ms(found.response_ms)), found.reason ?? ""),
      h("ul", {}, ...found.echoes.map((echo) => h("li", {}, echo.rtt_ms == null
        ? `${echo.verdict}${echo.reason ? `: ${echo.reason}` : ""}`
        : `${echo.rtt_ms.toFixed(3)} ms, ${echo.clock} clock, ± ${echo.bound_ms.toFixed(3)} ms`))),
      h("p", { class: "muted" }, "Not stored: the history holds only what was due."));
  } catch (problem) { box.textContent = problem.message; } finally { $("#ping").disabled = false; }
}

// The removal waits as long as it can be undone; whoever leaves the page has decided.
let removing = false;

function removeSoon() {
  if (removing) return;
  removing = true;
  toast(`${server.name} and its history will be removed`, {
    undo: () => { removing = false; },
    gone: async () => {
      removing = false;
      try { await call("DELETE", `servers/${id}`); location.assign("/dashboard"); } catch (problem) { toast(problem.message); }
    },
  });
}

addEventListener("pagehide", () => { if (removing) call("DELETE", `servers/${id}`).catch(() => {}); });

function edit() {
  const form = $("#editor form");
  for (const name of ["name", "ip", "probe", "interval_s"]) form.elements.namedItem(name).value = server[name];
  form.elements.namedItem("port").value = server.port ?? "";
  $(".error", form).hidden = true;
  $("#editor").showModal();
}

function gone() {
  $("#name").textContent = "There is no such server";
  for (const part of $("#main").children) if (!part.contains($("#name"))) part.hidden = true;
}

async function guarded() {
  try { await refresh(); } catch (problem) {
    if (problem.status === 404) { gone(); return; }
    toast(problem.message);
  }
}

$("#ranges").append(...Object.keys(RANGES).map((name) => h("button", {
  type: "button", "aria-pressed": String(name === range),
  onclick: (event) => {
    range = name;
    zoom = null;
    for (const button of $("#ranges").children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
    guarded();
  },
}, name)));
$("#out").addEventListener("click", () => { zoom = null; $(".chart").focus(); guarded(); });
$(".chart").addEventListener("keydown", byKey);
$("#ping").addEventListener("click", pingNow);
$("#edit").addEventListener("click", edit);
$("#editor [data-close]").addEventListener("click", () => $("#editor").close());
$("#pause").addEventListener("click", async () => {
  try { await call("PATCH", `servers/${id}`, { enabled: !server.enabled }); await guarded(); } catch (problem) { toast(problem.message); }
});
$("#remove").addEventListener("click", removeSoon);
onSubmit($("#editor form"), async (form) => {
  const port = form.get("port") ? Number(form.get("port")) : null;
  await call("PATCH", `servers/${id}`, { name: form.get("name"), ip: form.get("ip"), probe: form.get("probe"), port, interval_s: Number(form.get("interval_s")) });
  $("#editor").close();
  await guarded();
});
document.addEventListener("theme", guarded);
addEventListener("resize", () => { if (chart) { const { since, until } = windowShown(); drawStrip(since, until); } });
setInterval(() => { if (!document.hidden && !zoom) guarded(); }, REFRESH_MS);

await whoami();
selecting();
await guarded();
