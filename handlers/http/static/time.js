// What time it is by Pinglet's clock, and how long ago something was. The browser's clock may be
// wrong: an answer says what time it was, and performance.now, which nobody sets, what has passed since.
// It may stand still while a machine sleeps: who comes back to a page has it ask again.
let told = null;
let heardAt = 0;

export function heard(time) {
  told = Date.parse(time);
  heardAt = performance.now();
}

// In ms since 1970; null as long as Pinglet hasn't said.
export const now = () => told === null ? null : told + performance.now() - heardAt;

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

// A time as the API and HTML write it.
export const iso = (time) => new Date(time).toISOString().replace(/\.\d+Z$/, "Z");

// How long ago that was; a clock that is a little ahead of Pinglet's recorded it now.
export const age = (time) => now() === null ? "" : ago(Math.max(0, (now() - new Date(time)) / 1000));

// A length in its two largest units: all that is kept lasts whole minutes.
export function lasting(milliseconds) {
  const minutes = Math.round(milliseconds / 60_000);
  const parts = [[Math.floor(minutes / 1440), "d"], [Math.floor(minutes / 60) % 24, "h"], [minutes % 60, "min"]];
  const from = Math.max(0, parts.findIndex(([number]) => number));
  const told = parts.slice(from, from + 2).filter(([number]) => number);
  return told.map(([number, unit]) => `${number} ${unit}`).join(" ") || "0 min";
}

// What says an age is written anew each second, also while no answer comes.
export function aging(write) {
  write();
  setInterval(() => { if (!document.hidden) write(); }, 1000);
}
