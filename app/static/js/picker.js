// The model select of the form, with the chosen model's description and state.

import { catalog, modelNamed, modelOf } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { localStore } from "./storage.js";

const select = $("#model");
const note = $("#model-note");

export const chosen = () => modelOf(select.value);

/** Fills the select; selects the current choice, else the stored one if it still exists, else the server's default. */
export function fillPicker() {
  const wanted = [select.value, localStore.read("lastModelId"), startModel()];
  const groups = [
    ["On this machine", catalog.models.filter((model) => model.available && model.lane !== "remote")],
    ["Fetched on first use", catalog.models.filter((model) => !model.available)],
    ["At a provider", catalog.models.filter((model) => model.available && model.lane === "remote")],
  ];
  select.replaceChildren(
    ...groups
      .filter(([, models]) => models.length)
      .map(([label, models]) => el("optgroup", { label }, models.map((model) => el("option", { value: model.id }, model.name)))),
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
  say(note, model ? [model.description, state(model)].filter(Boolean).join(" · ") : "No models are configured.");
}

function startModel() {
  const usual = modelOf(catalog.default);
  if (usual?.available) return usual.id;
  return (catalog.models.find((model) => model.available) ?? usual ?? catalog.models[0])?.id;
}

function state(model) {
  if (model.loaded) return "in memory";
  if (model.available) return "";
  if (model.source === "local") return "its files are missing";
  return model.requires_auth ? "needs a Hugging Face token, downloads first" : "downloads first";
}
