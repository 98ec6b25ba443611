// The list of input images, for models that take several: add, remove, reorder. Loaded with the first such model.

import { $, button, el, icon } from "./dom.js";
import { start } from "./drop.js";
import { changeImages, useInputImage } from "./input-image.js";
import { announce } from "./notices.js";
import { style } from "./router.js";
import { t } from "./strings.js";

const ready = style("input-list");
const list = el("ol", { class: "input-list", id: "input-list", "aria-label": t`Pictures in their order` });
const files = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "aria-label": t`Pictures to add` });
const add = button(t`Add a picture`, "file", () => files.click(), { id: "input-add" });
const pick = button(t`From the gallery`, "gallery", choose, { id: "input-pick" });
const count = el("p", { class: "note", id: "input-count" });
let images = [];

/** Shows `next`; the model takes the first `most` of them. */
export async function show(next, most) {
  images = next;
  await ready;
  if (!list.isConnected) $("#start").append(list, el("div", { class: "input-actions" }, add, pick, files), count);
  list.replaceChildren(...images.map((image, at) => item(image, at, at < most)));
  for (const control of [add, pick]) control.disabled = images.length >= most;
  count.textContent = images.length > most ? usedWords(most) : t`${images.length} of ${most}. The prompt can name them by their order.`;
}

function usedWords(most) {
  if (!most) return t`The model uses none of them.`;
  return most === 1 ? t`The model uses the first one.` : t`The model uses the first ${most}.`;
}

function item({ shown, name }, at, used) {
  const act = (does, label, iconName, run, options) =>
    el("button", { type: "button", class: "round small", "aria-label": t`${label}: picture ${at + 1}, ${name}`, data: { act: does }, onclick: run, ...options }, icon(iconName));
  return el(
    "li",
    { data: { used } },
    el("img", { src: shown, alt: name }),
    el("span", { class: "input-number", "aria-hidden": "true" }, String(at + 1)),
    el(
      "div",
      {},
      act("earlier", t`Earlier`, "left", () => move(at, at - 1, "earlier"), { disabled: at === 0 }),
      act("later", t`Later`, "right", () => move(at, at + 1, "later"), { disabled: at === images.length - 1 }),
      act("remove", t`Remove`, "close", () => remove(at)),
    ),
  );
}

async function move(from, to, act) {
  const next = [...images];
  next.splice(to, 0, ...next.splice(from, 1));
  await changeImages(next);
  announce(t`Picture ${from + 1} is now picture ${to + 1}.`);
  const buttons = list.children[to].querySelectorAll("button:not(:disabled)");
  ([...buttons].find((one) => one.dataset.act === act) ?? buttons[0]).focus();
}

async function remove(at) {
  await changeImages(images.filter((_, other) => other !== at));
  announce(t`Picture ${at + 1} was removed.`);
  const next = list.children[Math.min(at, images.length - 1)];
  ($('[data-act="remove"]', next ?? list) ?? $("#prompt")).focus();
}

async function choose() {
  const { pick: ask } = await import("./gallery-picker.js");
  const chosen = await ask();
  if (chosen) useInputImage(chosen);
}

files.addEventListener("change", async () => {
  for (const file of files.files) await start(file);
  files.value = "";
});
