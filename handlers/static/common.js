// What every page stands on: elements without HTML, calls of /api/v1, the bar on top, words for times.

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

export class Refusal extends Error {
  constructor(problem, status) {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.status = status;
    this.code = problem.code;
    this.field = problem.field;
  }
}

// One call of /api/v1. The header is what a form of another site can't send.
export async function call(method, path, body) {
  const headers = { Accept: "application/json", "X-Requested-With": "pinglet" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(`/api/v1/${path}`, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && document.documentElement.dataset.page !== "login") {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  }
  throw new Refusal(answer, response.status);
}

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
      error.textContent = problem.message;
      error.hidden = false;
      const field = problem.field && form.elements.namedItem(problem.field);
      if (field instanceof Element) { field.setAttribute("aria-invalid", "true"); field.focus(); }
    } finally {
      button.disabled = false;
    }
  });
}

export function toast(text, undo) {
  const line = h("div", { class: "toast" }, h("span", {}, text));
  const timer = setTimeout(() => line.remove(), undo ? 8000 : 4000);
  if (undo) {
    line.append(h("button", { type: "button", onclick: () => { clearTimeout(timer); line.remove(); undo(); } }, "Undo"));
  }
  $("#toasts").append(line);
  return { gone: () => !line.isConnected };
}

// Words

export const ms = (value) => value == null ? "–" : value === 0 ? "< 0.01 ms" : `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)} ms`;

// Never rounded up to 100: three nines that aren't there would be a lie.
export function percent(share) {
  if (share == null) return "–";
  if (share === 1) return "100 %";
  return `${(Math.floor(share * 10000) / 100).toFixed(2)} %`;
}

export const when = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

export const stateMark = (state, paused) =>
  h("span", { class: "state" }, h("span", { class: `mark ${state}`, "aria-hidden": "true" }), paused ? "paused" : state);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// A strip of states on a canvas, a cell each; unobserved is visibly hollow, not due is empty.
export function drawStates(canvas, states, top = 0, height = canvas.clientHeight - top) {
  const context = fitted(canvas);
  const cell = canvas.clientWidth / states.length;
  const gap = cell > 4 ? 1 : 0;
  states.forEach((state, index) => {
    if (!state) return;
    const [x, width] = [index * cell + gap / 2, Math.max(cell - gap, 0.75)];
    if (state === "unobserved") {
      context.strokeStyle = colour("unobserved");
      context.setLineDash([2, 2]);
      if (width > 3) context.strokeRect(x + 0.5, top + 0.5, width - 1, height - 1);
      else { context.beginPath(); context.moveTo(x, top + height - 0.5); context.lineTo(x + width, top + height - 0.5); context.stroke(); }
      return;
    }
    // Worse states are taller as well as of another colour.
    const share = { up: 0.55, degraded: 0.8, down: 1 }[state];
    context.fillStyle = colour(state);
    context.fillRect(x, top + height * (1 - share), width, height * share);
  });
}

export function fitted(canvas) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  context.setLineDash([]);
  return context;
}

// The bar on top

export async function whoami() {
  const me = await call("GET", "me");
  const who = $("#who");
  if (who) who.textContent = me.open ? "open access" : me.name;
  document.documentElement.dataset.may = me.may;
  if (!me.open) $("#log-out")?.removeAttribute("hidden");
  return me;
}

export const mayWrite = (me) => me.may === "write" || me.may === "admin";

function theme() {
  const button = $("#theme");
  if (!button) return;
  const show = () => { button.textContent = document.documentElement.dataset.theme === "dark" ? "☀" : "☾"; };
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", next);
    document.documentElement.dataset.theme = next;
    show();
    document.dispatchEvent(new Event("theme"));
  });
  show();
}

$("#log-out")?.addEventListener("click", async () => {
  await call("DELETE", "session");
  location.replace("/login");
});

// Back after logging out must not show what was there.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
theme();
