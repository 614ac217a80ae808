import { $, call, count, counted, h, me, onSubmit, toast } from "./common.js";
import { keepTyped } from "./place.js";
import { goOnRemoving } from "./removing.js";

onSubmit($("#one"), async (form) => {
  const wanted = { name: form.get("name"), ip: form.get("ip").trim(), probe: form.get("probe") };
  if (form.get("port")) wanted.port = Number(form.get("port"));
  const server = await call("POST", "servers", wanted);
  $("#one").reset();
  toast(`Added ${server.name}`);
  $("#one [name=name]").focus();
});

// A list as people have it, read where every list is read.
onSubmit($("#many"), async (form) => {
  const list = form.get("list");
  const { results } = await call("POST", `servers/bulk?upsert=${form.get("upsert") !== null}`, list, "text/csv");
  const watched = results.filter(isWatched);
  const refused = results.filter((result) => result.detail && !isWatched(result));
  $("#results").replaceChildren(
    ...refused.map((result) => told("bad", result, result.detail)),
    ...watched.map((result) => told("good", result, "was watched already")),
  );
  // What was refused stays, to be mended.
  $("#many [name=list]").value = leftOf(list, refused, results.length);
  toast([
    `${counted(results.length - watched.length - refused.length, "server")} saved`,
    watched.length && `${count(watched.length)} ${watched.length === 1 ? "was" : "were"} watched already`,
    refused.length && `${count(refused.length)} refused`,
  ].filter(Boolean).join(", "));
});

const isWatched = ({ status }) => ["UNCHANGED", "NAME_ALREADY_EXIST"].includes(status);

const told = (kind, { text }, detail) =>
  h("li", { class: kind }, h("bdi", {}, text), h("span", {}, detail));

function leftOf(list, refused, number) {
  const texts = refused.map(({ text }) => text);
  if (/^\s*[[{]/.test(list)) return texts.length ? `[${texts.join(",\n")}]` : "";
  const lines = list.split(/\r\n|\r|\n/).filter((line) => /[^ ,;\t]/.test(line) && !/^ *#/.test(line));
  // A line more than servers: the first one names the columns.
  return (texts.length && lines.length > number ? [lines[0], ...texts] : texts).join("\n");
}

keepTyped($("#one"));
keepTyped($("#many"));
goOnRemoving();
$("#refused").hidden = me.mayWrite;
