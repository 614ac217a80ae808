import { $, call, me, onSubmit, toast, wordsOf } from "./common.js";
import { fileAsked, leftOf, saidOf, told } from "./lists.js";
import { keepTyped } from "./place.js";
import { goOnRemoving } from "./removing.js";
import "./watch.js";

onSubmit($("#one"), async (form) => {
  const wanted = { name: form.get("name"), ip: form.get("ip").trim(), probe: form.get("probe") };
  if (form.get("port")) wanted.port = Number(form.get("port"));
  wanted.tags = wordsOf(form.get("tags"));
  if (form.get("parent").trim()) wanted.parent = form.get("parent");
  const server = await call("POST", "servers", wanted);
  $("#one").reset();
  toast(`Added ${server.name}`);
  $("#one [name=name]").focus();
});

// A list as people have it, read where every list is read.
onSubmit($("#many"), async (form) => {
  const list = form.get("list");
  $("#results").replaceChildren();
  $("#done").hidden = true;
  const { results } = await call("POST", `servers/bulk?upsert=${form.get("upsert") !== null}`, list, "text/csv");
  const said = saidOf(results);
  $("#results").replaceChildren(...told(said));
  $("#done").hidden = false;
  $("#done").textContent = said.sentence;
  // What was refused stays, to be mended.
  $("#many [name=list]").value = leftOf(list, said.refused, results.length);
  toast(said.sentence);
});

fileAsked($("#many [name=file]"), $("#many [name=list]"), $("#many .error"));

keepTyped($("#one"));
keepTyped($("#many"));
goOnRemoving();
$("#refused").hidden = me.mayWrite;
