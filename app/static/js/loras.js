// The LoRA list of the form: enabled LoRAs and their scales. Fetched when the fine-tuning section is first opened.

import { get } from "./api.js";
import { $, el, say } from "./dom.js";
import { decimal } from "./format.js";
import { chosen } from "./picker.js";
import { paint } from "./steps.js";
import { t } from "./strings.js";

const [field, list, fine] = ["#lora-field", "#loras", ".fine"].map((id) => $(id));
const MANY = 8; // more are searched
const extras = () => import("./lora-extras.js");
const scales = new Map(); // id → scale, of enabled LoRAs
let known = null; // as listed by the server

/** [{id, scale}] for `model`, unlisted ones included, which may be repos of the hub. */
export function chosenLoras(model) {
  return [...scales].filter(([id]) => fits(id, model)).map(([id, scale]) => ({ id, scale }));
}

export function setLoras(loras) {
  scales.clear();
  for (const { id, scale } of loras ?? []) scales.set(id, scale);
  if (scales.size && !known) load();
  applyLoras();
}

/** Shows the LoRAs of the chosen model, and enabled ones that the server does not list. */
export function applyLoras() {
  const model = chosen();
  const listed = (known ?? []).filter((lora) => lora.available && lora.models.includes(model?.id)).map((lora) => lora.id);
  const ids = [...new Set([...listed, ...chosenLoras(model).map((lora) => lora.id)])];
  field.hidden = ids.length === 0;
  list.replaceChildren(...ids.map(row));
  if (ids.length > MANY) extras().then(({ searchable }) => searchable(list));
  emitChange();
}

const fits = (id, model) => (known?.find((lora) => lora.id === id)?.models ?? [model?.id]).includes(model?.id);

function row(id) {
  const shown = el("span", { class: "value" });
  const range = el("input", { type: "range", min: 0, max: 2, step: 0.05, value: scales.get(id) ?? 1, "aria-label": t`Scale of ${id}` });
  const box = el("input", { type: "checkbox", checked: scales.has(id), "aria-label": id });
  const words = known?.find((lora) => lora.id === id)?.trigger_words ?? [];
  const show = () => {
    if (box.checked && words.length) extras().then(({ triggerWords }) => triggerWords(item, words));
    say(shown, box.checked ? decimal(range.value, 2) : "");
    range.hidden = !box.checked;
    if (box.checked) scales.set(id, Number(range.value));
    else scales.delete(id);
    paint(range);
    emitChange();
  };
  box.addEventListener("change", show);
  range.addEventListener("input", show);
  const item = el("li", {}, el("label", { class: "check" }, box, el("span", {}, id), shown), range);
  show();
  return item;
}

function emitChange() {
  field.dispatchEvent(new CustomEvent("loras-changed", { bubbles: true }));
}

async function load() {
  try {
    known = (await get("api/loras")).loras;
  } catch {
    known = null; // the next time it is opened
  }
  applyLoras();
}

fine.addEventListener("toggle", () => fine.open && load());
