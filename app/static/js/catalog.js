// The model catalogue of the server, and helpers for a model's limits.

import { get } from "./api.js";
import { Signal } from "./signal.js";

export const catalog = { models: [], default: null, promptMax: 500, changed: new Signal() };

export async function loadCatalog() {
  const answer = await get("api/models");
  catalog.models = answer.models;
  catalog.default = answer.default;
  catalog.promptMax = answer.prompt_max_chars ?? 500;
  catalog.changed.emit();
}

export const modelOf = (id) => catalog.models.find((model) => model.id === id);

/** The model called `name`: by its id, an alias or its repository, in any case. */
export function modelNamed(name) {
  const wanted = String(name).trim().toLowerCase();
  const by = (names) => catalog.models.find((model) => names(model).some((one) => one.toLowerCase() === wanted));
  return by((model) => [model.id]) ?? by((model) => model.aliases) ?? by((model) => [model.repo]);
}

/** Whether `model` supports a single size only. */
export const oneSize = ({ limits }) => limits.min_width === limits.max_width && limits.min_height === limits.max_height;

/** The size within the model's limits that is nearest to the given one. */
export function fitSize(model, width, height) {
  const { limits } = model;
  const snap = (value, low, high) => {
    const unit = limits.multiple_of;
    const least = Math.ceil(low / unit) * unit;
    const most = Math.floor(high / unit) * unit;
    return Math.min(Math.max(Math.round(value / unit) * unit, least), most);
  };
  return [snap(width, limits.min_width, limits.max_width), snap(height, limits.min_height, limits.max_height)];
}
