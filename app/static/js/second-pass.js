// The second pass: the picture is enlarged and drawn over, by models that start from a picture. Its field is made when
// the fine-tuning section is first opened, or a picture's settings are restored.

import { $, el } from "./dom.js";
import { chosen } from "./picker.js";
import { t } from "./strings.js";

const CHOICES = [["", t`None`], ["1.5", t`1.5 times as large`], ["2", t`Twice as large`]];
const select = el("select", { id: "second-pass", "aria-describedby": "second-pass-note" }, CHOICES.map(([value, label]) => new Option(label, value)));
const field = el(
  "div",
  { class: "field" },
  el("label", { for: "second-pass" }, t`Second pass`),
  el("span", { class: "select" }, select),
  el("p", { class: "note", id: "second-pass-note" }, t`The picture is enlarged and drawn over, for more detail. Not with a start picture.`),
);
$("#lora-field").before(field);

let rest = {}; // of a restored setting, sent until another factor is chosen

/** Restores the setting of a picture; null for one that was drawn once. */
export function setSecondPass(upscale) {
  const { factor = "", ...others } = upscale ?? {};
  if (![...select.options].some(({ value }) => value === String(factor))) select.add(new Option(t`${factor} times as large`, factor));
  select.value = String(factor);
  rest = others;
  apply();
}

/** The form has the setting for composer.js. */
function apply() {
  field.hidden = !chosen()?.tasks.includes("img2img");
  const asked = select.value && !field.hidden ? { ...rest, factor: Number(select.value) } : null;
  if (asked) $("#generate-form").dataset.upscale = JSON.stringify(asked);
  else delete $("#generate-form").dataset.upscale;
}

select.addEventListener("change", () => {
  rest = {};
  apply();
});
$("#model").addEventListener("change", apply);
apply();
