// One server: its chart, its figures, and what can be done to it.
import { $, Refusal, age, aging, call, count, h, iso, lossShare, ms, now, onSubmit, percent, prefix, set, toast, wordsOf } from "./common.js";
import { MINUTE, charts, readChart } from "./charts.js";
import { foundBy } from "./echoes.js";
import { inAddress, list } from "./place.js";
import { goOnRemoving, removeSoon } from "./removing.js";
import { addressOf, fill, saidOf } from "./since.js";
import { word } from "./states.js";
import { ask, firstAsked, named, openOf, upToDate } from "./watch.js";

const id = Number(location.pathname.split("/").at(-1));
const RANGES = { "1 h": 3600, "6 h": 21600, "24 h": 86400, "7 d": 604800, "30 d": 2592000, "90 d": 7776000, "1 y": 31536000 };
const COMMON = "24 h";
const REFRESH_MS = 30_000;
const MOST_INCIDENTS = 5;

const short = (name) => name.replace(" ", "");

let server = null;
let range = Object.keys(RANGES).find((name) => short(name) === inAddress().get("range")) ?? COMMON;
let incidents = [];
let asked = 0;

const words = () => new URLSearchParams(range === COMMON ? {} : { range: short(range) });

function whole() {
  const until = Math.floor(now() / MINUTE) * MINUTE + MINUTE;
  return { since: until - RANGES[range] * 1000, until };
}

async function refresh() {
  // Which window ends now is for Pinglet's clock to say.
  await firstAsked;
  if (now() === null) await ask();
  if (now() === null) throw new Refusal({ detail: "Pinglet can't be reached" }, 0);
  const window = chart.windowShown();
  const { since, until } = window;
  const turn = ++asked;
  const asking = call("GET", `servers/${id}`);
  const [shown, summary, found] = await Promise.all([
    asking,
    call("GET", `servers/${id}/summary?${new URLSearchParams({ since: iso(since), until: iso(until) })}`),
    readChart(id, window, asking),
  ]);
  if (turn !== asked) return; // another range was chosen meanwhile
  server = shown;
  ({ incidents } = found);
  heading();
  figures(summary);
  listed();
  chart.draw(window, found);
}

function heading() {
  const open = openOf(id);
  named(server.name, { downSince: open && isDown(open) ? saidOf(open) : "" });
  set($("#name"), server.name);
  $("#mark").className = `mark ${word(server)}`;
  facts();
  set($("#pause"), server.enabled ? "Pause" : "Resume");
  for (const button of $(".actions").children) if (button !== pinging) button.disabled = false;
}

function facts() {
  if (!server) return;
  const port = server.port ? `:${server.port}` : "";
  const found = [`${server.ip}${port}`, ...standing(), every(server.interval_s / 60), lastSeen(server.last_ping)];
  if (server.probe !== "auto") found.splice(1, 0, server.probe);
  const shown = [
    ...found.map((fact) => h("bdi", {}, ...[fact].flat())),
    ...(server.parent ? [h("bdi", {}, "behind ", listOf({ search: server.parent }, server.parent))] : []),
    ...server.tags.map((tag) => h("bdi", {}, listOf({ tag }, tag))),
  ];
  const told = (facts) => [...facts].map((fact) => fact.textContent).join();
  if (told(shown) !== told($("#address").children)) $("#address").replaceChildren(...shown);
}

// Whether that is why it is down now.
const isDown = (open) => open.kind === "down" && word(server) === "down";

// Its state, and what is open, which leads to its incident.
function standing() {
  const open = openOf(id);
  const why = server.detail ? `: ${server.detail}` : "";
  if (!open) return [`${word(server)}${why}`];
  const since = h("a", { href: addressOf(open) }, saidOf(open));
  return isDown(open) ? [[since, why]] : [`${word(server)}${why}`, [since]];
}

// The incidents of the window, the newest of them.
function listed() {
  const more = incidents.length - MOST_INCIDENTS;
  $("#incidents").hidden = incidents.length === 0;
  fill($("#incidents .incidents"), incidents.slice(0, MOST_INCIDENTS), { isNamed: false });
  const link = $("#incidents-more");
  link.hidden = more <= 0;
  link.href = `${prefix}/dashboard/incidents?${new URLSearchParams({ search: server.name, since: "all" })}`;
  set(link, `and ${count(more)} more`);
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
  server = null; // nothing is said of it any more
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

const chart = charts({ whole, words, refresh: guarded });

$("#ranges").append(...Object.keys(RANGES).map((name) => h("button", {
  type: "button", "aria-pressed": String(name === range),
  onclick: (event) => {
    range = name;
    for (const button of $("#ranges").children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
    chart.show(null);
  },
}, name)));
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
document.addEventListener("reached", guarded);
document.addEventListener("asked", () => { if (server) heading(); });
document.addEventListener("zone", () => { if (server) { heading(); listed(); } });
aging(facts);
document.addEventListener("visibilitychange", () => { if (!document.hidden) guarded(); });
// Also where one looks closer: the state above is of now.
const refreshing = setInterval(() => { if (!document.hidden) guarded(); }, REFRESH_MS);

$(".crumb a").href = list();
goOnRemoving(removed);
await guarded();
