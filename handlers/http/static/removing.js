// A removal waits as long as it can be undone. F5, Back and a closed tab keep what was to be removed;
// a link to another page of ours takes the Undo along.
import { call, prefix, toast } from "./common.js";
import { forTab } from "./kept.js";
import { isNew } from "./place.js";

const waiting = new Map(); // path -> {path, name, told}
const LEFT = "removals left waiting";
const LATELY_MS = 8000;

// `told` says it, such as "web and its history will be removed"; `done` is called when it was.
export function removeSoon(removal, done = () => {}) {
  const { path, told } = removal;
  if (waiting.has(path)) return;
  waiting.set(path, removal);
  toast(told, {
    undo: () => waiting.delete(path),
    gone: async () => {
      if (!waiting.delete(path)) return; // the page was left meanwhile
      try { await call("DELETE", path); done(removal); } catch (problem) { toast(problem.message); }
    },
  });
}

addEventListener("pagehide", () => {
  if (!waiting.size) return;
  forTab.setItem(LEFT, JSON.stringify({ at: Date.now(), removals: [...waiting.values()] }));
  waiting.clear();
});

// How the page before was left shows only here: until then a link may have led nowhere.
const byLink = () => isNew && document.referrer.startsWith(`${location.origin}${prefix}/`);

// What waited on the page before this one.
export function goOnRemoving(done) {
  const { at, removals = [] } = JSON.parse(forTab.getItem(LEFT) ?? "{}");
  forTab.removeItem(LEFT);
  for (const removal of removals) {
    if (byLink() && Date.now() - at < LATELY_MS) removeSoon(removal, done);
    else toast(`${removal.name} was not removed: you left the page before that`);
  }
}
