// A question before something that can't be undone.
import { h } from "./common.js";

let number = 0;

// Whether it was answered by `yes`; Escape and Cancel are no. `question` is one or several nodes.
export function ask(question, more, yes) {
  const title = h("h2", { id: `question-${++number}` }, ...[question].flat());
  const text = h("p", { id: `${title.id}-more` }, more);
  const cancel = h("button", { class: "quiet", value: "", autofocus: true }, "Cancel");
  const dialog = h("dialog", { role: "alertdialog", "aria-labelledby": title.id, "aria-describedby": text.id },
    h("form", { method: "dialog", class: "stack" }, title, text,
      h("div", { class: "row" }, cancel, h("button", { class: "quiet danger", value: "yes" }, yes))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
  });
}
