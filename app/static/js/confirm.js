// Asks before something that concerns many pictures, or that cannot be undone.

import { button, el, say } from "./dom.js";
import { style } from "./router.js";
import { t } from "./strings.js";

const title = el("h2", { id: "confirm-title" });
const words = el("p", { id: "confirm-words" });
const yes = button("", null, () => dialog.close("yes"), { class: "quiet strong danger-strong" });
const dialog = el(
  "dialog",
  { class: "confirm", role: "alertdialog", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-words" },
  title,
  words,
  el("div", { class: "confirm-actions" }, button(t`Cancel`, null, () => dialog.close("")), yes),
);
document.body.append(dialog);

/** Resolves to whether the user agreed to `label`. */
export async function confirm({ question, explanation, label }) {
  await style("gallery");
  for (const [node, text] of [[title, question], [words, explanation], [yes, label]]) say(node, text);
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}
