// In which zone times are shown, the browser's or UTC, and what they are called there.
import { forGood } from "./kept.js";
import { iso, now } from "./time.js";

const KEPT = "zone";
const UTC = "UTC";
let inUtc = forGood.getItem(KEPT) === UTC;

const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

// As Pinglet is asked for hours of the day in it.
export const zone = () => inUtc ? UTC : here;

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

const formatted = (options) => new Intl.DateTimeFormat(undefined, { ...options, timeZone: inUtc ? UTC : here });
const written = (time, options) => formatted(options).format(new Date(time));

const ahead = (time) => inUtc ? 0 : -new Date(time).getTimezoneOffset() * MINUTE;
const wall = (time) => time + ahead(time);
const dayOf = (time) => Math.floor(wall(time) / DAY);

// Where clocks go back, an hour (on Lord Howe, half of one) is on the wall twice.
const isTwice = (time) => [-60, -30, 30, 60].some((minutes) => wall(time + minutes * MINUTE) === wall(time));

// The zone as it was then, such as GMT-5 or EST.
const zoneOf = (time) => formatted({ timeZoneName: "short" }).formatToParts(new Date(time)).find(({ type }) => type === "timeZoneName").value;

const zoned = (time, text) => isTwice(+new Date(time)) ? `${text} ${zoneOf(time)}` : text;

const dated = (time) => written(time, { dateStyle: "medium", timeStyle: "short" });

export const when = (time) => zoned(time, dated(time));
export const whenInZone = (time) => `${dated(time)} ${zoneOf(time)}`;
export const clock = (time) => zoned(time, written(time, { timeStyle: "short" }));
// Today's without the day.
export const lately = (time) => now() !== null && dayOf(+new Date(time)) === dayOf(now()) ? clock(time) : when(time);
export const day = (time) => written(time, { dateStyle: "medium" });
const shortDay = (time) => written(time, { month: "short", day: "numeric" });
const monthOf = (time) => written(time, { month: "short", year: "numeric" });

// A time as an element of its own: in Arabic or Hebrew it runs the other way than our words.
export function moment(time, write = when) {
  const [apart, element] = ["bdi", "time"].map((tag) => document.createElement(tag));
  element.dateTime = iso(time);
  element.textContent = write(time);
  apart.append(element);
  return apart;
}

// From when to when; the day is said once. Without an `until` it lasts. It may have begun before that
// and ended after that; `write` writes when it began.
export function between(since, until, { isBefore = false, isAfter = false, write = when } = {}) {
  const from = [...(isBefore ? ["before "] : []), moment(since, write)];
  if (until == null) return ["since ", ...from];
  const isSameDay = dayOf(+new Date(since)) === dayOf(+new Date(until));
  return [...from, " – ", ...(isAfter ? ["after "] : []), moment(until, isSameDay ? clock : when)];
}

// Yesterday's evening, six o'clock: since then it was last night.
export function lastEvening() {
  if (inUtc) return (dayOf(now()) - 1) * DAY + 18 * 60 * MINUTE;
  const evening = new Date(now());
  evening.setDate(evening.getDate() - 1);
  return evening.setHours(18, 0, 0, 0);
}

// Ticks: round times of this zone

function byMinutes(since, until, step) {
  // Zones are ahead by quarters of an hour: what divides the step and those, too, misses nothing.
  const stride = [15, 5, 1].find((minutes) => step % minutes === 0) * MINUTE;
  const found = [];
  for (let at = Math.ceil(since / stride) * stride; at <= until; at += stride) {
    if (wall(at) % (step * MINUTE) === 0) found.push({ value: at, label: at === midnight(dayOf(at)) ? shortDay(at) : clock(at) });
  }
  return found;
}

// Where clocks go forward at midnight, a day begins at one.
const midnight = (number) => inUtc ? number * DAY : +new Date(1970, 0, 1 + number);

const firstOf = (month) => inUtc ? Date.UTC(1970, month) : +new Date(1970, month);

// Weeks begin with Mondays; 1970 didn't.
const byDays = (since, until, step) =>
  counted(since, until, midnight, dayOf(since), step, step % 7 ? 0 : 4, shortDay);

const byMonths = (since, until, step) =>
  counted(since, until, firstOf, Math.floor((dayOf(since) / 365.2425) * 12) - 1, step, 0, monthOf);

function counted(since, until, start, first, step, shift, label) {
  const found = [];
  for (let number = first; start(number) <= until; number += 1) {
    const value = start(number);
    // A day that a zone left out, as Apia did, begins with the next one.
    if (value >= since && (number - shift) % step === 0 && found.at(-1)?.value !== value) found.push({ value, label: label(value) });
  }
  return found;
}

const STEPS = [
  ...[1, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((step) => ({ step, length: step * MINUTE, find: byMinutes })),
  ...[1, 2, 7, 14].map((step) => ({ step, length: step * DAY, find: byDays })),
  ...[1, 3, 6, 12, 24, 60, 120].map((step) => ({ step, length: step * 30.4 * DAY, find: byMonths })),
];

// On a canvas there are no elements to keep apart what runs the other way: there a character does.
export const apart = (text) => /[\u0590-\u08ff]/.test(text) ? `\u2068${text}\u2069` : text;

// At most about so many, as {value, label}.
export function ticksOf(since, until, most) {
  const { step, find } = STEPS.find(({ length }) => (until - since) / length <= most) ?? STEPS.at(-1);
  return find(since, until, step);
}

// The switch at the foot of each page

const [name, button] = ["#zone-name", "#zone"].map((selector) => document.querySelector(selector));

function show() {
  name.textContent = inUtc ? UTC : here;
  button.textContent = inUtc ? `Show ${here}` : "Show UTC";
  button.hidden = here === UTC;
}

button?.addEventListener("click", () => {
  inUtc = !inUtc;
  if (inUtc) forGood.setItem(KEPT, UTC); else forGood.removeItem(KEPT);
  show();
  document.dispatchEvent(new Event("zone"));
});
if (button) show();
