// The model select of the form, with the chosen model's description and state.

import { catalog, modelNamed, modelOf } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { localStore } from "./storage.js";
import { t } from "./strings.js";

const select = $("#model");
const note = $("#model-note");

const GROUPS = [
  ["built-in", t`Built in`],
  ["image", t`Pictures, not here yet`],
  ["edit", t`Change pictures, not here yet`],
  ["video", t`Videos, not here yet`],
  ["provider", t`At a provider`],
];
const isHere = (model) => model.available && model.lane !== "remote";
const fits = (model) => model.fits.answer !== "no";

export const chosen = () => modelOf(select.value);

/** Fills the select; selects the current choice, else the stored one if it still exists, else the server's default. */
export function fillPicker() {
  const wanted = [select.value, localStore.read("lastModelId"), startModel()];
  const rest = catalog.models.filter((model) => !isHere(model));
  const fitting = rest.filter(fits);
  const groups = [
    [t`On this machine`, catalog.models.filter(isHere)],
    ...GROUPS.map(([group, label]) => [label, fitting.filter((model) => model.group === group)]),
    [t`Do not fit this machine`, rest.filter((model) => !fits(model))],
  ];
  select.replaceChildren(
    ...groups
      .filter(([, models]) => models.length)
      .map(([label, models]) => el("optgroup", { label }, models.map((model) => el("option", { value: model.id }, isHere(model) && !fits(model) ? t`${model.name} – does not fit` : model.name)))),
  );
  select.value = wanted.find((id) => id && modelOf(id)) ?? "";
  describe();
}

export function choose(name) {
  const model = modelNamed(name);
  if (!model) return false;
  select.value = model.id;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

export function describe() {
  const model = chosen();
  say(note, model ? [model.description, state(model)].filter(Boolean).join(" · ") : t`No models are configured.`);
  note.classList.toggle("warn", Boolean(model) && !fits(model));
}

function startModel() {
  const usual = modelOf(catalog.default);
  if (usual?.available) return usual.id;
  return (catalog.models.find((model) => model.available) ?? usual ?? catalog.models[0])?.id;
}

function state(model) {
  if (model.loaded) return t`in memory`;
  if (!fits(model)) return model.fits.reason;
  const slow = /group|sequential/.test(model.fits.plan) ? t`slow on this machine` : "";
  return [origin(model), slow].filter(Boolean).join(" · ");
}

function origin(model) {
  if (model.available) return "";
  if (model.lane === "remote") return t`needs the provider’s key`;
  if (model.source === "local") return t`its files are missing`;
  return model.requires_auth ? t`needs a Hugging Face token, downloads first` : t`downloads first`;
}
