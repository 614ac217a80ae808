// One server: its chart, its figures, and what can be done to it.
import { $, Refusal, age, aging, call, colour, count, fitted, h, iso, lossShare, moment, ms, now, onSubmit, percent, prefix, set, toast, whenInZone, wordsOf } from "./common.js";
import { foundBy } from "./echoes.js";
import { inAddress, list, sayInAddress } from "./place.js";
import { pointing } from "./pointing.js";
import { goOnRemoving, removeSoon } from "./removing.js";
import { spellsOf } from "./spells.js";
import { drawStates, word } from "./states.js";
import { ask, firstAsked, named, upToDate } from "./watch.js";
import { apart, ticksOf } from "./zone.js";

const id = Number(location.pathname.split("/").at(-1));
const RANGES = { "1 h": 3600, "6 h": 21600, "24 h": 86400, "7 d": 604800, "30 d": 2592000, "90 d": 7776000, "1 y": 31536000 };
const POINTS = 360;
const REFRESH_MS = 30_000;
const MINUTE = 60_000;
const SHORTEST = 5 * MINUTE;
const LONGEST = 2 * 365 * 1440 * MINUTE; // the API draws 800 days at most

let server = null;
let range = "24 h";
let zoom = null; // {since, until} in ms, or null for the whole range
fromAddress();
let buckets = [];
let spells = { spells: [], leftOff: 0 };
let asked = 0;

function short(name) { return name.replace(" ", ""); }

function fromAddress() {
  const words = inAddress();
  range = Object.keys(RANGES).find((name) => short(name) === words.get("range")) ?? range;
  const [since, until] = ["since", "until"].map((name) => Date.parse(words.get(name)));
  if (since < until) zoom = { since: Math.max(since, until - LONGEST), until };
}

function intoAddress() {
  const words = new URLSearchParams();
  if (range !== "24 h") words.set("range", short(range));
  if (zoom) for (const [name, time] of Object.entries(zoom)) words.set(name, iso(time));
  sayInAddress(words);
}

function windowShown() {
  if (zoom) return zoom;
  const until = Math.floor(now() / MINUTE) * MINUTE + MINUTE;
  return { since: until - RANGES[range] * 1000, until };
}

async function refresh() {
  // Which window ends now is for Pinglet's clock to say.
  await firstAsked;
  if (now() === null) await ask();
  if (now() === null) throw new Refusal({ detail: "Pinglet can't be reached" }, 0);
  const { since, until } = windowShown();
  const words = new URLSearchParams({ since: iso(since), until: iso(until) });
  const turn = ++asked;
  const [shown, summary, series] = await Promise.all([
    call("GET", `servers/${id}`),
    call("GET", `servers/${id}/summary?${words}`),
    call("GET", `servers/${id}/series?${words}&points=${POINTS}`),
  ]);
  // After the others: of a long window each is costly, and who asks has one turn at a time.
  const spelled = await spellsOf(shown, { since, until });
  if (turn !== asked) return; // another range was chosen meanwhile
  server = shown;
  buckets = series.buckets;
  spells = spelled;
  heading();
  figures(summary);
  draw(since, until);
}

function heading() {
  named(server.name);
  set($("#name"), server.name);
  $("#mark").className = `mark ${word(server)}`;
  facts();
  set($("#pause"), server.enabled ? "Pause" : "Resume");
  for (const button of $(".actions").children) if (button !== pinging) button.disabled = false;
}

function facts() {
  if (!server) return;
  const port = server.port ? `:${server.port}` : "";
  const why = server.detail ? `: ${server.detail}` : "";
  const found = [`${server.ip}${port}`, `${word(server)}${why}`, every(server.interval_s / 60), lastSeen(server.last_ping)];
  if (server.probe !== "auto") found.splice(1, 0, server.probe);
  const shown = [
    ...found.map((fact) => h("bdi", {}, fact)),
    ...(server.parent ? [h("bdi", {}, "behind ", listOf({ search: server.parent }, server.parent))] : []),
    ...server.tags.map((tag) => h("bdi", {}, listOf({ tag }, tag))),
  ];
  const told = (facts) => [...facts].map((fact) => fact.textContent).join();
  if (told(shown) !== told($("#address").children)) $("#address").replaceChildren(...shown);
}

const listOf = (words, text) => h("a", { href: `${prefix}/dashboard?${new URLSearchParams(words)}` }, text);

const every = (minutes) => minutes === 1 ? "every minute" : minutes % 60 ? `every ${minutes} minutes` : minutes === 60 ? "every hour" : minutes === 1440 ? "every day" : `every ${minutes / 60} hours`;

function lastSeen(ping) {
  if (!ping) return "not pinged yet";
  return `${ping.response_ms == null ? "no answer" : ms(ping.response_ms)}, ${age(ping.slot)}`;
}

function figures(summary) {
  const { up, degraded, down, unobserved } = summary.counts;
  figure("uptime", percent(summary.uptime), "of observed rounds");
  figure("coverage", percent(summary.coverage), `${count(unobserved)} unobserved`);
  for (const name of ["p50", "p95", "p99"]) figure(name, ms(summary[`${name}_ms`]), name);
  figure("lost", lossShare(summary.lost_share), `${count(summary.sent - summary.received)} of ${count(summary.sent)}`);
  $("#chart").setAttribute("aria-label", `Round trips: median ${ms(summary.p50_ms)}, best ${ms(summary.best_ms)}, worst ${ms(summary.worst_ms)}`);
  $("#states").setAttribute("aria-label", `Rounds by state: ${up} up, ${degraded} degraded, ${down} down, ${unobserved} unobserved`);
}

function figure(name, value, more) {
  const shown = $(`[data-figure=${name}]`);
  set(shown, value);
  set(shown.nextElementSibling, more);
}

// The chart

let chart = null;

const roomFor = (width) => Math.max(2, Math.min(8, Math.floor(width / 60)));

const start = (bucket) => Date.parse(bucket.since);
const end = (bucket) => Date.parse(bucket.until);

function points(of) {
  return buckets.map((bucket) => ({ x: (start(bucket) + end(bucket)) / 2, y: of(bucket) }));
}

// Between two gaps there is no line to see: there a point stands for it.
const alone = (index) => buckets[index - 1]?.mean_ms == null && buckets[index + 1]?.mean_ms == null;
const radius = ({ dataIndex }) => buckets.length < 80 || alone(dataIndex) ? 2 : 0;

function datasets() {
  return [
    { label: "worst", data: points((b) => b.worst_ms), borderWidth: 0, pointRadius: 0, pointHoverRadius: 0, fill: "+1", backgroundColor: colour("band") },
    { label: "best", data: points((b) => b.best_ms), borderWidth: 0, pointRadius: 0, pointHoverRadius: 0 },
    { label: "mean", data: points((b) => b.mean_ms), borderColor: colour("accent"), borderWidth: 1.8, pointRadius: radius, pointBackgroundColor: colour("accent"), tension: 0 },
  ];
}

const seen = (bucket) => bucket.mean_ms != null || bucket.counts.down > 0;

// Lost echoes have no time to draw. They stand on the ground, as high as the share that got lost:
// where nothing answered, that is the whole height. Where nobody looked it is hatched.
const beneath = {
  id: "beneath",
  beforeDatasetsDraw({ ctx, chartArea, scales }) {
    const column = (bucket, share) => {
      const left = Math.max(chartArea.left, scales.x.getPixelForValue(start(bucket)));
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
    ctx.restore();
  },
  afterRender: drawStrip,
};

function hatched(context, ink) {
  const tile = h("canvas", { width: 8, height: 8 });
  const brush = tile.getContext("2d");
  brush.strokeStyle = ink;
  for (const shift of [-8, 0, 8]) { brush.moveTo(shift, 8); brush.lineTo(shift + 8, 0); }
  brush.stroke();
  return context.createPattern(tile, "repeat");
}

function options(since, until) {
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

let view = null; // {since, until}: what the chart shows
let drawn = 0;

function draw(since, until) {
  const isElsewhere = !view || Math.max(Math.abs(since - view.since), Math.abs(until - view.until)) > MINUTE;
  if (isElsewhere) pointer.hide();
  view = { since, until };
  drawn += 1;
  $("#out").hidden = !zoom;
  $("#window").replaceChildren(moment(since, whenInZone), " to ", moment(until, whenInZone));
  pointer.write();
  if (!globalThis.Chart) { missing(); return; }
  const made = { data: { datasets: datasets() }, options: options(since, until) };
  if (chart) { Object.assign(chart, made); chart.update("none"); }
  else {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    chart = new Chart($("#chart"), { type: "line", plugins: [beneath], ...made });
  }
  $("#window").dataset.minutes = (until - since) / MINUTE;
}

// Neither npm has put it beside us, nor did the CDN give what we know.
function missing() {
  if ($("#chart").hidden) return;
  $("#chart").hidden = $(".strip").hidden = true;
  $(".chart").append(h("p", { class: "error" }, "The chart can't be drawn because Chart.js didn't load. Run ", h("code", {}, "npm ci"), " to install it."));
}

// As wide as the chart's own area, so that a state stands below its bucket.
let strip = "";

function drawStrip({ chartArea: { left, width } }) {
  // The chart may be painted again for another reason, this only when it is another.
  const wanted = [left, width, drawn].join();
  if (wanted === strip) return;
  strip = wanted;
  const { since, until } = view;
  const canvas = $("#states");
  canvas.style.marginLeft = `${left}px`;
  canvas.style.width = `${width}px`;
  const share = (time) => Math.min(1, Math.max(0, (time - since) / (until - since)));
  const parts = buckets.map((bucket) => ({ counts: bucket.counts, from: share(start(bucket)), to: share(end(bucket)) }));
  drawStates(fitted(canvas), parts, canvas.clientWidth, 0, canvas.clientHeight);
}

// Looking closer: by dragging, or by keys

function look(since, until) {
  const last = Math.ceil(now() / MINUTE) * MINUTE;
  const length = Math.min(LONGEST, Math.max(SHORTEST, until - since));
  const to = Math.min(last, Math.ceil(until / MINUTE) * MINUTE);
  zoom = { since: to - Math.round(length / MINUTE) * MINUTE, until: to };
  intoAddress();
  return guarded();
}

function byKey(event) {
  if (now() === null) return; // what is shown has no end yet
  if (pointer.step(event)) { event.preventDefault(); return; }
  const { since, until } = windowShown();
  const quarter = (until - since) / 4;
  if (event.key === "Escape") { if (zoom) wholeRange(); return; }
  const moves = {
    ArrowLeft: [-quarter, -quarter], ArrowRight: [quarter, quarter],
    "+": [quarter, -quarter], "-": [-2 * quarter, 2 * quarter],
  };
  const move = moves[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  look(since + move[0], until + move[1]);
}

function wholeRange() {
  zoom = null;
  intoAddress();
  return guarded();
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
  area.addEventListener("dblclick", () => { if (zoom) wholeRange(); });
}

// What can be done

let pinging = null; // the button, as long as it waits

async function pingNow() {
  const box = $("#echoes");
  pinging = $("#ping");
  box.hidden = false;
  box.textContent = "Sending four echoes …";
  pinging.disabled = true;
  try {
    const found = await call("POST", `servers/${id}/ping`, {});
    box.replaceChildren(...foundBy(found));
  } catch (problem) { box.textContent = problem.message; } finally { pinging.disabled = false; pinging = null; }
}

const remove = () => removeSoon({ path: `servers/${id}`, name: server.name, told: `${server.name} and its history will be removed` }, removed);

// Back leads to no page of a server that is gone.
function removed({ path }) {
  if (path === `servers/${id}`) location.replace(list());
}

function edit() {
  const form = $("#editor form");
  // What was set elsewhere may be any divisor of a day.
  const intervals = [...new Set([60, 300, 900, 3600, server.interval_s])].sort((one, other) => one - other);
  form.elements.interval_s.replaceChildren(...intervals.map((seconds) => h("option", { value: seconds }, every(seconds / 60).slice("every ".length))));
  for (const field of form.elements) if (field.name) field.value = server[field.name] ?? "";
  form.elements.tags.value = server.tags.join(" ");
  $(".error", form).hidden = true;
  $("#editor").showModal();
}

function gone() {
  clearInterval(refreshing);
  named("Server not found");
  for (const part of $("#main").children) part.hidden = !part.contains($("#name"));
  $("#mark").hidden = true;
  $(".actions").hidden = true;
  $("#name").textContent = "Server not found";
  $("#address").replaceChildren("It may have been removed. ", h("a", { href: `${prefix}/dashboard` }, "See all servers"));
}

async function guarded() {
  await upToDate(async () => {
    try { await refresh(); } catch (problem) {
      if (problem.status !== 404) throw problem;
      gone();
    }
  });
}

const pointer = pointing({
  areas: [$(".chart"), $(".strip")],
  shown: () => view && { ...view, chart, buckets, spells, now: now() },
  look,
});

$("#ranges").append(...Object.keys(RANGES).map((name) => h("button", {
  type: "button", "aria-pressed": String(name === range),
  onclick: (event) => {
    range = name;
    zoom = null;
    intoAddress();
    for (const button of $("#ranges").children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
    guarded();
  },
}, name)));
$("#out").addEventListener("click", () => { $(".chart").focus(); wholeRange(); });
$(".chart").addEventListener("keydown", byKey);
$("#ping").addEventListener("click", pingNow);
$("#edit").addEventListener("click", edit);
$("#editor [data-close]").addEventListener("click", () => $("#editor").close());
$("#pause").addEventListener("click", async () => {
  try { await call("PATCH", `servers/${id}`, { enabled: !server.enabled }); await guarded(); } catch (problem) { toast(problem.message); }
});
$("#remove").addEventListener("click", remove);
onSubmit($("#editor form"), async (form) => {
  const port = form.get("port") ? Number(form.get("port")) : null;
  const [tags, parent] = [wordsOf(form.get("tags")), form.get("parent").trim() || null];
  await call("PATCH", `servers/${id}`, { ...Object.fromEntries(form), port, tags, parent, interval_s: Number(form.get("interval_s")) });
  $("#editor").close();
  await guarded();
});
for (const change of ["theme", "zone"]) document.addEventListener(change, () => { if (view) draw(view.since, view.until); });
document.addEventListener("reached", guarded);
aging(facts);
document.addEventListener("visibilitychange", () => { if (!document.hidden) guarded(); });
// Also where one looks closer: the state above is of now.
const refreshing = setInterval(() => { if (!document.hidden) guarded(); }, REFRESH_MS);

$(".crumb a").href = list();
goOnRemoving(removed);
selecting();
await guarded();
