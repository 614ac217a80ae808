// The rules that open incidents: listed for everybody, made, changed and removed by admins.
import { ask } from "./ask.js";
import { $, call, counted, h, me, onSubmit, toast, wordsOf } from "./common.js";
import { tried } from "./trial.js";
import "./watch.js";

// By kind: what its number is called, what a new rule has, and what a rule says.
const KINDS = {
  down: { label: "Slots without an answer", number: 2, of: 3, says: (when) => `${when.down} of ${counted(when.of, "slot")} had no answer` },
  loss_pct: { label: "Per cent lost, or more", number: 20, of: 5, says: (when) => `${when.loss_pct} % lost, or more, in ${counted(when.of, "slot")}` },
  p95_ms: { label: "Milliseconds", number: 500, of: 20, says: (when) => `${when.k} of ${counted(when.of, "slot")} took longer than ${when.p95_ms} ms` },
  coverage_pct: { label: "Per cent observed, less than", number: 90, of: 20, says: (when) => `less than ${when.coverage_pct} % of ${counted(when.of, "slot")} was observed` },
};
const form = $("#rule");
const { elements } = form;
const number = elements.namedItem("number");
let changing = null; // the rule in the form, where it isn't a new one

const kindOf = (when) => Object.keys(KINDS).find((kind) => when[kind] != null);

// Words that people gave, each apart and isolated: one may be written from right to left.
const parts = (words) => words.flatMap((word, at) => [at ? ", " : null, h("bdi", {}, word)]);

function whom({ tags, names }) {
  if (!tags.length && !names.length) return ["every server"];
  const tagged = tags.length ? ["tags ", ...parts(tags)] : [];
  return names.length ? [...tagged, tags.length ? " and names " : "names ", ...parts(names)] : tagged;
}

async function list() {
  const { rules } = await call("GET", "rules");
  $("#none").hidden = rules.length > 0;
  $("#rules").hidden = !rules.length;
  $("#rules tbody").replaceChildren(...rules.map(row));
}

function row(rule) {
  const acts = me.may !== "admin" ? [] : [
    h("button", { type: "button", class: "quiet", "aria-label": `Change ${rule.name}`, onclick: () => edit(rule) }, "Change"),
    h("button", { type: "button", class: "quiet danger", "aria-label": `Remove ${rule.name}`, onclick: () => remove(rule) }, "Remove"),
  ];
  return h("tr", {},
    h("td", { class: "title" }, h("bdi", {}, rule.name), h("span", { class: "chip" }, rule.severity)),
    h("td", { class: "words", "data-label": "for" }, ...whom(rule.for)),
    h("td", { "data-label": "opens when" }, KINDS[kindOf(rule.when)].says(rule.when)),
    h("td", { "data-label": "resolved by" }, counted(rule.clear, "good slot")),
    h("td", { class: "act" }, ...acts));
}

// The number's field is called what a refusal calls it.
function asks(kind) {
  $("#number").textContent = KINDS[kind].label;
  number.name = `when.${kind}`;
  $("#times").hidden = kind !== "p95_ms";
}

function begin(kind = "down") {
  changing = null;
  form.reset();
  elements.kind.value = kind;
  asks(kind);
  number.value = KINDS[kind].number;
  elements.namedItem("when.of").value = KINDS[kind].of;
  shown("New rule", "Add rule");
}

function shown(title, button) {
  $("h2", form).textContent = title;
  $("#save").textContent = button;
  $("#cancel").hidden = !changing;
  $(".error", form).hidden = true;
  $("#trial").hidden = true;
}

function edit(rule) {
  const kind = kindOf(rule.when);
  begin(kind);
  changing = rule;
  elements.name.value = rule.name;
  elements.severity.value = rule.severity;
  elements.namedItem("for.tags").value = rule.for.tags.join(" ");
  elements.namedItem("for.names").value = rule.for.names.join("\n");
  number.value = rule.when[kind];
  elements.namedItem("when.of").value = rule.when.of;
  elements.namedItem("when.k").value = rule.when.k ?? "";
  elements.clear.value = rule.clear;
  shown("Change a rule", "Save");
  elements.name.focus();
}

function wanted(form) {
  const kind = form.get("kind");
  const when = { [kind]: Number(form.get(`when.${kind}`)), of: Number(form.get("when.of")) };
  if (kind === "p95_ms" && form.get("when.k")) when.k = Number(form.get("when.k"));
  const names = form.get("for.names").split("\n").map((name) => name.trim()).filter(Boolean);
  const rule = { name: form.get("name"), for: { tags: wordsOf(form.get("for.tags")), names }, when, severity: form.get("severity") };
  if (form.get("clear")) rule.clear = Number(form.get("clear"));
  // What the form doesn't show stays.
  return changing ? { say: changing.say, remind_m: changing.remind_m, ...rule } : rule;
}

onSubmit(form, async (given, button) => {
  if (button.value === "try") { await tried(wanted(given)); return; }
  const rule = await (changing ? call("PUT", `rules/${changing.id}`, wanted(given)) : call("POST", "rules", wanted(given)));
  toast([changing ? `Changed ${rule.name}` : `Added ${rule.name}`, ...rule.hints].join(". "));
  begin();
  await list();
  elements.name.focus();
});

async function remove(rule) {
  const then = "What is open under it is resolved with the next round.";
  if (!await ask(["Remove ", h("bdi", {}, rule.name), "?"], then, "Remove")) return;
  try {
    await call("DELETE", `rules/${rule.id}`);
    toast(`Removed ${rule.name}`);
  } catch (problem) { toast(problem.message); }
  if (changing?.id === rule.id) begin();
  await list();
  ($("#rules button") ?? elements.name).focus({ preventScroll: true });
}

elements.kind.addEventListener("change", () => {
  const { kind } = elements;
  asks(kind.value);
  number.value = KINDS[kind.value].number;
  elements.namedItem("when.of").value = KINDS[kind.value].of;
});
$("#cancel").addEventListener("click", () => { begin(); elements.name.focus(); });

form.hidden = me.may !== "admin";
begin();
await list();
