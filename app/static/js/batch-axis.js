// An axis of a batch in the form: the field that changes, its values as text, and what could be one.

import { get } from "./api.js";
import { FIELDS, HINTS, kindOf } from "./batch-values.js";
import { catalog } from "./catalog.js";
import { $, el, icon, say } from "./dom.js";
import { chosenLoras } from "./loras.js";
import { chosen } from "./picker.js";
import { t } from "./strings.js";

const OTHER = "other";
const MOST_SUGGESTED = 24;
let count = 0; // of rows that were made: their ids
let knownLoras = null; // a promise

/** `kept` is {field, search, text}; `remove(row)` is called by its button. */
export function axisRow(kept, remove) {
  const id = `axis-${++count}`;
  const gone = new AbortController();
  const select = el("select", { id: `${id}-field`, "aria-label": t`Field that changes`, "aria-describedby": `${id}-error` });
  const other = el("input", { type: "text", placeholder: "settings.shift", "aria-label": t`Name of the field`, "aria-describedby": `${id}-error`, autocomplete: "off", spellcheck: "false" });
  const search = el("input", { type: "text", placeholder: t`these words`, "aria-label": t`Words to replace`, "aria-describedby": `${id}-error`, value: kept.search ?? "", autocomplete: "off" });
  const values = el("textarea", { id, rows: 2, "aria-label": t`Values`, "aria-describedby": `${id}-hint ${id}-error`, dir: "auto" });
  const hint = el("p", { class: "note", id: `${id}-hint` });
  const error = el("p", { class: "note field-error", id: `${id}-error`, hidden: true });
  const suggested = el("div", { class: "batch-suggested" });
  const away = el("button", { type: "button", class: "round small", "aria-label": t`Remove this field`, onclick: () => (gone.abort(), remove(row)) }, icon("close"));
  const node = el("li", { class: "batch-axis" }, el("div", { class: "batch-axis-head" }, el("span", { class: "select" }, select), away), other, search, values, error, hint, suggested);
  values.value = kept.text ?? "";

  const field = () => (select.value === OTHER ? other.value.trim() : select.value);

  function fill() {
    const wanted = select.value === OTHER ? OTHER : select.value || kept.field || "prompt_replace";
    const scales = chosen() ? chosenLoras(chosen()).map(({ id: lora }, at) => [`settings.loras.${at}.scale`, t`Strength of ${lora}`]) : [];
    const known = [...FIELDS, ...scales];
    select.replaceChildren(...[...known, [OTHER, t`Another field…`]].map(([name, label]) => new Option(label, name)));
    if (known.some(([name]) => name === wanted)) select.value = wanted;
    else {
      select.value = OTHER;
      if (wanted !== OTHER && !other.value) other.value = wanted;
    }
    show();
  }

  function show() {
    other.hidden = select.value !== OTHER;
    search.hidden = select.value !== "prompt_replace";
    say(hint, HINTS[kindOf(field())]);
    suggest();
  }

  async function suggest() {
    const asked = field();
    const found = await suggestions(asked);
    if (asked !== field()) return;
    const use = (value) => () => {
      values.value = [values.value.trim().replace(/,$/, ""), value].filter(Boolean).join(values.value.includes("\n") ? "\n" : ", ");
      values.dispatchEvent(new Event("input", { bubbles: true }));
    };
    suggested.hidden = !found.length;
    suggested.replaceChildren(...found.slice(0, MOST_SUGGESTED).map((value) => el("button", { type: "button", class: "batch-chip", onclick: use(value), "aria-label": t`Add ${value}` }, value)));
  }

  const controls = { field: () => (other.hidden ? select : other), search: () => search, values: () => values };
  const row = {
    node,
    read: () => ({ field: field(), search: search.value, text: values.value }),
    isEmpty: () => !values.value.trim() && !search.value,
    focus: () => select.focus(),
    control: (part) => controls[part](),
    mark(errors) {
      error.hidden = !errors.length;
      say(error, errors.map(({ message }) => message).join(" "));
      for (const part of Object.keys(controls)) controls[part]().setAttribute("aria-invalid", String(errors.some((one) => one.part === part)));
    },
  };
  select.addEventListener("change", show);
  other.addEventListener("change", show);
  $("#model").addEventListener("change", fill, { signal: gone.signal });
  $("#generate-form").addEventListener("loras-changed", fill, { signal: gone.signal });
  fill();
  return row;
}

/** Values of a field that this server knows. */
async function suggestions(field) {
  const model = chosen();
  if (field === "settings.scheduler") return model?.schedulers ?? [];
  if (field === "model_id") return catalog.models.filter(({ available, media }) => available && media === model?.media).map(({ id }) => id);
  if (field === "settings.loras") return ["none", ...(await loras()).filter((lora) => lora.available && lora.models.includes(model?.id)).map(({ id }) => id)];
  if (field === "size") return [...document.querySelectorAll("#sizes input[data-width]")].map(({ dataset }) => `${dataset.width}x${dataset.height}`);
  return [];
}

const loras = () => (knownLoras ??= get("api/loras").then((answer) => answer.loras, () => ((knownLoras = null), [])));
