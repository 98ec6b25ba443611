// The models as the server describes them, and small questions about one. Knows no form.

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

/** Whether pictures of `model` can only have one size. */
export const oneSize = ({ limits }) => limits.min_width === limits.max_width && limits.min_height === limits.max_height;

/** A size this model accepts, as near to the given one as its limits allow. */
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
