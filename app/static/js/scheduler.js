// The choice of a sampler, for models that take another than their own. Names until the labels are fetched, when the
// fine-tuning section is first opened.

import { get } from "./api.js";
import { $, el } from "./dom.js";
import { chosen } from "./picker.js";
import { t } from "./strings.js";

const BESIDE = ["shift", "timestep_spacing", "sigmas"]; // restored with a picture, and sent until another one is chosen
const [field, select] = ["#scheduler-field", "#scheduler"].map((id) => $(id));
let labels = null; // name → label
let beside = {};

/** {scheduler, …} as settings of a request; {} for the model's own. */
export const chosenScheduler = () => ({ ...(select.value ? { scheduler: select.value } : {}), ...beside });

/** Shows those that fit the model, and chooses the one called `wanted`. */
export function applySchedulers(model, wanted = select.value) {
  const names = model.schedulers ?? [];
  const own = labels?.get(model.defaults.scheduler) ?? model.defaults.scheduler;
  field.hidden = names.length === 0;
  beside = {};
  select.replaceChildren(
    el("option", { value: "" }, own ? t`${own}, the model’s own` : t`The model’s own`),
    ...names.map((name) => el("option", { value: name }, labels?.get(name) ?? name)),
  );
  select.value = names.find((name) => plain(name) === plain(wanted)) ?? "";
}

/** Restores the settings of a picture. */
export function setScheduler(settings) {
  applySchedulers(chosen(), settings.scheduler ?? "");
  const known = BESIDE.filter((name) => settings[name] !== null && settings[name] !== undefined);
  if (select.value || !settings.scheduler) beside = Object.fromEntries(known.map((name) => [name, settings[name]]));
}

/** Names as other programs write them, such as "DPM++ 2M" and "Euler a". */
const plain = (name) => name.toLowerCase().replaceAll("+", "p").replace(/[^a-z0-9]/g, "");

async function load() {
  if (labels) return;
  try {
    labels = new Map((await get("api/schedulers")).schedulers.map(({ name, label }) => [name, label]));
  } catch {
    return; // the next time it is opened
  }
  const kept = beside;
  if (chosen()) applySchedulers(chosen());
  beside = kept;
}

select.addEventListener("change", () => {
  beside = {};
});
$(".fine").addEventListener("toggle", ({ target }) => target.open && load());
