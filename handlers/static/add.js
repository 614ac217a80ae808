import { $, call, h, mayWrite, onSubmit, toast, whoami } from "./common.js";

onSubmit($("#one"), async (form) => {
  const wanted = { name: form.get("name"), ip: form.get("ip").trim(), probe: form.get("probe") };
  if (form.get("port")) wanted.port = Number(form.get("port"));
  const server = await call("POST", "servers", wanted);
  $("#one").reset();
  toast(`${server.name} is watched from now on`);
  $("#one [name=name]").focus();
});

// "name, address": the address is what stands behind the last comma or blank, so a name may hold both.
function parsed(line) {
  const found = /^(.*?)[\s,;]+([^\s,;]+)$/.exec(line.trim());
  return found ? { name: found[1], ip: found[2] } : { name: line, ip: "" };
}

onSubmit($("#many"), async (form) => {
  const lines = form.get("list").split("\n").filter((line) => line.trim());
  const results = $("#results");
  results.replaceChildren();
  const CHUNK = 2000; // servers a call: below the limit of a body
  for (let start = 0; start < lines.length; start += CHUNK) {
    const chunk = lines.slice(start, start + CHUNK);
    const done = await call("POST", "servers/bulk", { servers: chunk.map(parsed), upsert: form.get("upsert") !== null });
    done.results.forEach((result, index) => results.append(h("li", {},
      h("bdi", {}, chunk[index]), ` – ${result.status}${result.detail ? `: ${result.detail}` : ""}`)));
  }
  const taken = [...results.children].filter((line) => /– (CREATED|UPDATED|UNCHANGED)$/.test(line.textContent)).length;
  toast(`${taken} of ${lines.length} servers are watched`);
});

const me = await whoami();
$("#refused").hidden = mayWrite(me);
