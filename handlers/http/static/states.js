// What a server's state is called here, and how the states of many slots are drawn as one.
import { colour } from "./common.js";

// Paused and new are unobserved, too, but nobody was to look: they have words and marks of their own.
export const WORDS = ["up", "degraded", "down", "unobserved", "new", "paused"];

export const word = ({ state, enabled, new: isNew }) => !enabled ? "paused" : isNew ? "new" : state;

// What /api/v1/servers is asked for those of a word.
const ASKED = {
  unobserved: { state: "unobserved", enabled: true, new: false },
  new: { new: true },
  paused: { enabled: false },
};
export const asked = (wanted) => ASKED[wanted] ?? { state: wanted };

// How many servers of each word there are, of an answer of /api/v1/servers.
export function byWord({ totals, new: young, paused }) {
  return { ...totals, unobserved: totals.unobserved - young - paused, new: young, paused };
}

// Of the counts of a half hour.
export const byState = ([up, degraded, down, unobserved]) => ({ up, degraded, down, unobserved });

// From the ground up. Worse states are taller as well as of another colour, and are never too few to
// be seen; unobserved is visibly hollow, not due is empty.
const STACK = ["unobserved", "up", "degraded", "down"];
const TALL = { unobserved: 0.65, up: 0.65, degraded: 0.82, down: 1 };
const LEAST_PX = { unobserved: 0, up: 0, degraded: 1, down: 2 };

// {counts, from, to}: a slot of each state is as much of the height as of the time; from and to are
// shares of the whole width.
export function drawStates(context, parts, whole, top, height, gap = 0) {
  const sharp = (length) => Math.round(length * devicePixelRatio) / devicePixelRatio;
  const boxes = [];
  for (const { counts, from, to } of joined(parts)) {
    const due = STACK.reduce((sum, state) => sum + counts[state], 0);
    const x = sharp(from * whole + gap / 2);
    const width = Math.max(sharp(to * whole - gap / 2) - x, 1);
    let ground = top + height;
    for (const [rank, state] of STACK.entries()) {
      if (!counts[state]) continue;
      const share = counts[state] / due;
      const tall = Math.max(sharp(height * TALL[state] * share), LEAST_PX[state]);
      ground -= tall;
      boxes.push({ rank, state, x, y: ground, width, tall, alone: share === 1 });
    }
  }
  // The worst last: where a part is less than a pixel wide, nothing is painted over it.
  const inks = Object.fromEntries(STACK.map((state) => [state, colour(state)]));
  for (const box of boxes.sort((one, other) => one.rank - other.rank)) paint(context, box, inks[box.state]);
}

// What wasn't observed at all is one frame as long as it lasted.
function joined(parts) {
  const found = [];
  for (const part of parts) {
    const last = found.at(-1);
    const isHollow = onlyUnobserved(part.counts);
    if (isHollow && last?.isHollow && Math.abs(last.to - part.from) < 1e-9) last.to = part.to;
    else found.push({ ...part, isHollow });
  }
  return found;
}

const onlyUnobserved = ({ up, degraded, down, unobserved }) => unobserved > 0 && up + degraded + down === 0;

function paint(context, { state, x, y, width, tall, alone }, ink) {
  context.beginPath();
  if (state !== "unobserved") {
    context.fillStyle = ink;
    context.roundRect(x, y, width, tall, alone ? Math.min(2, width / 3) : 0);
    context.fill();
  } else if (alone && width > 3) {
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.roundRect(x + 0.5, y + 0.5, width - 1, tall - 1, Math.min(2, width / 3));
    context.stroke();
  } else if (tall >= 1) {
    // Beside others, or too narrow for a frame: a line at the foot is as hollow as it gets.
    context.fillStyle = ink;
    context.fillRect(x, y + tall - 1, width, 1);
  }
}
