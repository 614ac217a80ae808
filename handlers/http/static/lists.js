// Lists of servers, pasted or from a file: what came of each line, and what is left to be mended.
import { count, counted, h } from "./common.js";

const STAYS = {
  UNCHANGED: "was watched already",
  NAME_ALREADY_EXIST: "was watched already, and stays as it is",
};
const TWICE = /appears twice/;

const isWatched = ({ status, detail }) => status in STAYS && !TWICE.test(detail ?? "");

// {refused, watched, sentence}: the results by what people do with them.
export function saidOf(results) {
  const watched = results.filter(isWatched);
  const refused = results.filter((result) => result.detail && !isWatched(result));
  const saved = results.length - watched.length - refused.length;
  const sentence = [
    saved && `${counted(saved, "server")} saved`,
    watched.length && `${count(watched.length)} ${watched.length === 1 ? "was" : "were"} watched already`,
    refused.length && `${count(refused.length)} refused`,
  ].filter(Boolean).join(", ");
  return { refused, watched, sentence };
}

// A line each; what is to be mended stands on top.
export const told = ({ refused, watched }) => [
  ...refused.map((one) => line("bad", one, `${one.place}: ${one.detail}`)),
  ...watched.map((one) => line("good", one, STAYS[one.status])),
];

const line = (kind, { text }, more) =>
  h("li", { class: kind }, h("bdi", {}, plainly(text)), h("span", {}, more));

// A server of a JSON list by its name and address: what is around them is for programs.
function plainly(text) {
  if (!text.startsWith("{")) return text;
  try {
    const { name, ip } = JSON.parse(text);
    return [name, ip].filter((one) => typeof one === "string").join(", ") || "a server without a name";
  } catch { return text; }
}

// Of the list, what was refused, such that it can be sent again.
export function leftOf(list, refused, number) {
  const texts = refused.map(({ text }) => text);
  if (/^\s*[[{]/.test(list)) return texts.length ? `[${texts.join(",\n")}]` : "";
  const lines = list.split(/\r\n|\r|\n/).filter((one) => /[^ ,;\t]/.test(one) && !/^ *#/.test(one));
  // A line more than servers: the first one names the columns.
  return (texts.length && lines.length > number ? [lines[0], ...texts] : texts).join("\n");
}

// A file's text goes into the box, to be looked at before it is sent.
export function fileAsked(input, box, error) {
  const take = async (file) => {
    error.hidden = true;
    try {
      box.value = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      box.focus();
    } catch {
      error.textContent = `${file.name} must be text in UTF-8: save it as that and choose it again`;
      error.hidden = false;
    }
  };
  input.addEventListener("change", async () => {
    if (input.files.length) await take(input.files[0]);
    input.value = ""; // the same one may be chosen again, mended
  });
  // Anywhere on the page: beside the box, the browser would leave the page to show the file.
  document.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}
