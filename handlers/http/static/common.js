// What every page stands on: elements without HTML, calls of /api/v1, the bar on top, words for times.

// Who is looking: the page was written for them.
const { may, open, prefix: given } = document.documentElement.dataset;
export const me = { may, open: open !== undefined, mayWrite: may === "write" || may === "admin" };

// Where Pinglet is: "" or, under a prefix, that.
export const prefix = given ?? "";

export const $ = (selector, root = document) => root.querySelector(selector);

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

// The clock is the server's: a wrong one here must not say that nobody is looking.
let skew = 0;
export const now = () => Date.now() + skew;

// One call of /api/v1; what isn't JSON has a type. The header is what a form of another site can't
// send.
export async function call(method, path, body, type) {
  const headers = { Accept: "application/json", "X-Requested-With": "pinglet" };
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  const response = await fetch(`${prefix}/api/v1/${path}`, {
    // A call that is out when the page is left still arrives.
    method, headers, keepalive: method === "DELETE", body: type ? body : JSON.stringify(body),
  }).catch(() => { throw new Refusal({ detail: "Pinglet can't be reached" }, 0); });
  const date = Date.parse(response.headers.get("Date"));
  if (date) skew = date - Date.now();
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && document.documentElement.dataset.page !== "login") {
    location.assign(`${prefix}/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  throw new Refusal(answer, response.status);
}

// How Pinglet itself fares: it may answer 503 and tell all the same.
export const health = () => fetch(`${prefix}/api/v1/health`).then((answer) => answer.json()).catch(() => ({}));

const UNDO_MS = 8000; // as long as .undoable shrinks its bar

// Say what went wrong beside the form, and mark the field.
export function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = $(".error", form) ?? $(".error", form.parentElement);
    const button = $("[type=submit]", form);
    for (const input of form.elements) input.removeAttribute("aria-invalid");
    error.hidden = true;
    button.disabled = true;
    try {
      await act(new FormData(form));
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

export const count = (number) => number.toLocaleString();

export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export const when = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export const clock = (time) => new Date(time).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });

export const day = (time) => new Date(time).toLocaleDateString(undefined, { dateStyle: "medium" });

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

export const stateMark = (state, paused) =>
  h("span", { class: "state" }, h("span", { class: `mark ${state}`, "aria-hidden": "true" }), paused ? "paused" : state);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Neighbours of the same state as one: [{state, from, to}], in shares of the whole.
export function runs(spans) {
  const found = [];
  for (const span of spans) {
    const last = found.at(-1);
    if (last?.state === span.state && Math.abs(last.to - span.from) < 1e-9) last.to = span.to;
    else found.push({ ...span });
  }
  return found;
}

// Spans of states, `height` high from `top`; unobserved is visibly hollow, not due is empty.
export function drawStates(context, spans, whole, top, height, gap = 0) {
  const colours = Object.fromEntries(["up", "degraded", "down", "unobserved"].map((state) => [state, colour(state)]));
  for (const { state, from, to } of spans) {
    if (!state) continue;
    const [x, width] = [from * whole + gap / 2, Math.max((to - from) * whole - gap, 1)];
    // Worse states are taller as well as of another colour.
    const tall = height * { up: 0.65, degraded: 0.82, down: 1, unobserved: 0.65 }[state];
    const y = top + height - tall;
    if (state === "unobserved" && width > 3) {
      context.strokeStyle = colours.unobserved;
      context.lineWidth = 1;
      box(context, x + 0.5, y + 0.5, width - 1, tall - 1);
      context.stroke();
    } else {
      context.fillStyle = colours[state];
      // Too narrow for a frame: a line at the foot is as hollow as it gets.
      if (state === "unobserved") context.fillRect(x, top + height - 1, width, 1);
      else { box(context, x, y, width, tall); context.fill(); }
    }
  }
}

function box(context, x, y, width, height) {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(2, width / 3));
}

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
  localStorage.setItem("theme", next);
  document.documentElement.dataset.theme = next;
  document.dispatchEvent(new Event("theme"));
});

$("#log-out")?.addEventListener("click", async () => {
  try { await call("DELETE", "session"); location.replace(`${prefix}/login`); } catch (problem) { toast(problem.message); }
});

// Back after logging out must not show what was there.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
