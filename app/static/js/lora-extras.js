// What long lists of LoRAs and those with trigger words have in the form. Imported when there are any.

import { $, el } from "./dom.js";
import { addToPrompt } from "./examples.js";
import { style } from "./router.js";
import { t } from "./strings.js";

const SHOWN_WORDS = 12;
const search = el("input", { type: "search", class: "lora-search", placeholder: t`Search LoRAs`, "aria-label": t`Search LoRAs` });

/** Adds a search to `list`; what is searched for stays when the list is drawn anew. */
export async function searchable(list) {
  await style("models");
  if (!search.isConnected) list.before(search);
  search.oninput = () => filter(list);
  filter(list);
}

/** Enabled LoRAs are shown whatever is searched for. */
function filter(list) {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of list.children) {
    const text = item.textContent.toLowerCase();
    item.hidden = !$("input:checked", item) && !words.every((word) => text.includes(word));
  }
}

/** Trigger words below the row of an enabled LoRA, which a click adds to the prompt. */
export async function triggerWords(item, words) {
  await style("models");
  if ($(".words", item)) return;
  const chip = (word) => el("button", { type: "button", class: "batch-chip", "aria-label": t`Add ${word} to the prompt`, onclick: () => addToPrompt(word) }, word);
  item.append(el("div", { class: "words" }, words.slice(0, SHOWN_WORDS).map(chip)));
}
