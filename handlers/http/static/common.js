// What every page stands on: elements without HTML, calls of /api/v1, the bar on top, words for figures.
import { forGood, forTab } from "./kept.js";
import { here, prefix } from "./place.js";

// Who is looking: the page was written for them.
const { may, open } = document.documentElement.dataset;
export const me = { may, open: open !== undefined, mayWrite: may === "write" || may === "admin" };

export { prefix } from "./place.js";
export { age, aging, iso, lasting, now } from "./time.js";
export { between, clock, day, lastEvening, lately, moment, when, whenInZone } from "./zone.js";

export const $ = (selector, root = document) => root.querySelector(selector);

export const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };

// Elements from text alone: a name such as <img onerror=...> is text here, whatever it looks like.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Pinglet says what is wrong; who doesn't is something else.
function before(status) {
  if (status === 413) return "this is too long for what stands in front of Pinglet: send it in parts";
  if (status >= 502) return `what stands in front of Pinglet can't reach it (status ${status})`;
  return `what stands in front of Pinglet refused this (status ${status})`;
}

export class Refusal extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? before(status));
    this.status = status;
    this.code = problem.code;
    this.field = problem.field;
  }
}

// One call of /api/v1; what isn't JSON has a type. The header is what a form of another site can't
// send.
export async function call(method, path, body, type) {
  const headers = { Accept: "application/json", "X-Requested-With": "pinglet" };
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  const response = await fetch(`${prefix}/api/v1/${path}`, {
    // A call that is out when the page is left still arrives.
    method, headers, keepalive: method === "DELETE", body: type ? body : JSON.stringify(body),
  }).catch(() => { throw new Refusal({ detail: "Pinglet can't be reached" }, 0); });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && document.documentElement.dataset.page !== "login") {
    location.assign(`${prefix}/login?next=${encodeURIComponent(here())}`);
  }
  throw new Refusal(answer, response.status);
}

const UNDO_MS = 8000; // as long as .undoable shrinks its bar

// Say what went wrong beside the form, and mark the field. `act` is given what the form holds, and the
// button that sent it.
export function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = $(".error", form) ?? $(".error", form.parentElement);
    const button = event.submitter ?? $("[type=submit]", form);
    for (const input of form.elements) input.removeAttribute("aria-invalid");
    error.hidden = true;
    button.disabled = true;
    try {
      await act(new FormData(form), button);
    } catch (problem) {
      const field = problem.field && form.elements.namedItem(problem.field);
      error.textContent = inWords(problem, field);
      error.hidden = false;
      if (field instanceof Element) { field.setAttribute("aria-invalid", "true"); field.focus(); }
    } finally {
      button.disabled = false;
    }
  });
}

// A field is called what its label calls it, not what it is called in a request.
function inWords({ message, field: name }, field) {
  const label = field?.labels?.[0] && [...field.labels[0].childNodes].find((node) => node.nodeType === Node.TEXT_NODE)?.textContent.trim();
  return label && message.startsWith(`${name} `) ? `${label}${message.slice(name.length)}` : message;
}

// With `undo` there is a button for it, which has the focus: nobody has to look for it in eight
// seconds. Otherwise `gone` is called when the time for it is over.
export function toast(text, { undo, gone } = {}) {
  const line = h("div", { class: "toast" }, h("span", {}, text));
  const timer = setTimeout(() => { line.remove(); gone?.(); }, undo ? UNDO_MS : 5000);
  $("#toasts").append(line);
  if (!undo) return;
  const before = document.activeElement;
  const button = h("button", { type: "button", onclick: () => { clearTimeout(timer); line.remove(); before.focus(); undo(); } }, "Undo");
  line.append(button);
  line.classList.add("undoable");
  button.focus({ preventScroll: true });
}

// Words

export const ms = (value) => value == null ? "–" : value === 0 ? "< 0.01 ms" : `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)} ms`;

// Never rounded up to 100: three nines that aren't there would be a lie.
export function percent(share) {
  if (share == null) return "–";
  if (share === 1 || share === 0) return `${share * 100} %`;
  return `${(Math.floor(share * 10000) / 100).toFixed(2)} %`;
}

// Never rounded down to 0 either, where something was lost.
export const lossShare = (share) => share > 0 && share < 0.0001 ? "< 0.01 %" : percent(share);

// In the digits of all other figures here, whatever those of the language are.
export const count = (number) => number.toLocaleString(undefined, { numberingSystem: "latn" });

export const wordsOf = (text) => text.split(/\s+/).filter(Boolean);

export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export const stateMark = (word, text = word) =>
  h("span", { class: "state" }, h("span", { class: `mark ${word}`, "aria-hidden": "true" }), text);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function fitted(canvas) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

// The bar on top

$("#theme")?.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  forGood.setItem("theme", next);
  document.documentElement.dataset.theme = next;
  document.dispatchEvent(new Event("theme"));
});

$("#log-out")?.addEventListener("click", async () => {
  try { await call("DELETE", "session"); } catch (problem) { toast(problem.message); return; }
  // Whoever logs in next isn't told what was typed here.
  addEventListener("pagehide", () => forTab.clear());
  location.replace(`${prefix}/login`);
});

// Back after logging out must not show what was there.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
