// What a draft of a rule would have made of the past, beside the rules in force.
import { $, call, count, counted, h, lasting, moment } from "./common.js";
import { zone } from "./zone.js";

const DAYS = 30;
const SHOWN = 3; // servers with most incidents

const seconds = (number) => number == null ? "–" : lasting(number * 1000);
const named = (words) => words.flatMap((word, at) => [at ? ", " : null, ...[word].flat()]);

function most({ servers }) {
  const shown = servers.slice(0, SHOWN).map(({ server, incidents }) => [h("bdi", {}, server.name), ` (${count(incidents)})`]);
  return shown.length ? named(shown) : ["–"];
}

function longest({ longest: outage }) {
  return outage ? [h("bdi", {}, outage.server.name), `, ${seconds(outage.duration_s)}, since `, moment(outage.since)] : ["–"];
}

function busiest({ incidents, hours }) {
  const hour = hours.indexOf(Math.max(...hours));
  return incidents ? [`${String(hour).padStart(2, "0")}:00 (${count(hours[hour])})`] : ["–"];
}

const LINES = [
  ["Rules", ({ rules }) => rules.length ? named(rules.map((name) => h("bdi", {}, name))) : ["–"]],
  ["Incidents", ({ incidents, flaps }) => [flaps ? `${count(incidents)}, opened again ${counted(flaps, "time")}` : count(incidents)]],
  ["Outages missed", ({ missed }) => [count(missed)]],
  ["Nights somebody is woken", ({ nights }) => [count(nights)]],
  ["Told after, median and worst", ({ delay_median_s: median, delay_worst_s: worst }) => [`${seconds(median)}, ${seconds(worst)}`]],
  ["Longest", longest],
  ["Most of them", most],
  ["Busiest hour", busiest],
];

export async function tried(rule) {
  const told = await call("POST", "rules/test", { rule, days: DAYS, zone: zone() });
  $("#trial-of").replaceChildren(
    `${counted(told.servers, "server")}, ${counted(told.outages, "outage")} of ten minutes or more, `,
    "from ", moment(told.since), " to ", moment(told.until), ".");
  $("#trial tbody").replaceChildren(...LINES.map(([label, write]) => h("tr", {},
    h("td", { class: "title" }, label),
    h("td", { class: "words", "data-label": "this rule" }, ...write(told.draft)),
    h("td", { class: "words", "data-label": "in force" }, ...write(told.in_force)))));
  $("#trial").hidden = false;
  $("#trial h2").focus();
}
