import { $, call, count, counted, h, me, onSubmit, toast } from "./common.js";

onSubmit($("#one"), async (form) => {
  const wanted = { name: form.get("name"), ip: form.get("ip").trim(), probe: form.get("probe") };
  if (form.get("port")) wanted.port = Number(form.get("port"));
  const server = await call("POST", "servers", wanted);
  $("#one").reset();
  toast(`Added ${server.name}`);
  $("#one [name=name]").focus();
});

// "name, address": the address is what stands behind the last comma or blank, so a name may hold
// both. What stands alone is the name as well.
function parsed(line) {
  const found = /^(.*?)[\s,;]+([^\s,;]+)$/.exec(line.trim());
  return found ? { name: found[1], ip: found[2] } : { name: line, ip: line.trim() };
}

const WATCHED = { CREATED: "added", UPDATED: "updated", UNCHANGED: "unchanged" };
const CHUNK = 2000; // servers a call: below the limit of a body

onSubmit($("#many"), async (form) => {
  const lines = form.get("list").split("\n").filter((line) => line.trim());
  const refused = [];
  $("#results").replaceChildren();
  for (let start = 0; start < lines.length; start += CHUNK) {
    const chunk = lines.slice(start, start + CHUNK);
    const done = await call("POST", "servers/bulk", { servers: chunk.map(parsed), upsert: form.get("upsert") !== null });
    $("#results").append(...done.results.map((result, index) => told(chunk[index], result)));
    refused.push(...chunk.filter((_line, index) => !(done.results[index].status in WATCHED)));
    // What is left to be mended stays where it can be.
    $("#many [name=list]").value = [...refused, ...lines.slice(start + CHUNK)].join("\n");
  }
  toast(`${counted(lines.length - refused.length, "server")} saved${refused.length ? `, ${count(refused.length)} refused` : ""}`);
});

function told(line, { status, detail }) {
  const good = status in WATCHED;
  return h("li", { class: good ? "good" : "bad" }, h("bdi", {}, line), h("span", {}, good ? WATCHED[status] : detail ?? status));
}

$("#refused").hidden = me.mayWrite;
