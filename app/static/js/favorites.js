// Favourites: hearts on tiles, on the stage and in the lightbox, which all show the same.

import { call } from "./api.js";
import { $$, button } from "./dom.js";
import { announce, toast } from "./notices.js";
import { Signal } from "./signal.js";
import { t } from "./strings.js";

const known = new Map(); // id → whether it is one, as last listed or changed
export const favorites = { changed: new Signal() }; // (set of ids, whether they are)

export const isFavorite = (item) => known.get(item.image_id) ?? Boolean(item.favorite);

/** What the server lists now. */
export function learn(items) {
  for (const { image_id: id, favorite } of items) if (id) known.set(id, Boolean(favorite));
}

/** These were marked, by one request. */
export function marked(ids, favorite) {
  const changed = new Set(ids);
  for (const id of ids) known.set(id, favorite);
  for (const node of $$(".heart[data-id]")) if (changed.has(node.dataset.id)) press(node, favorite);
  favorites.changed.emit(changed, favorite);
}

const press = (node, favorite) => node.setAttribute("aria-pressed", String(favorite));

export async function toggleFavorite(item) {
  const wanted = !isFavorite(item);
  marked([item.image_id], wanted);
  announce(wanted ? t`A favourite now` : t`No favourite any more`);
  try {
    await call(`api/image/${item.image_id}/favorite`, { method: wanted ? "PUT" : "DELETE" });
  } catch (error) {
    marked([item.image_id], !wanted);
    toast(error.message, { kind: "error" });
  }
}

/** A button that shows whether `item` is a favourite, and changes it. */
export function heart(item, attributes = {}) {
  const about = { class: "round small heart", "aria-label": t`Favourite`, title: t`Favourite (F)`, data: { id: item.image_id }, ...attributes };
  const node = button(null, "heart", () => toggleFavorite(item), about);
  press(node, isFavorite(item));
  return node;
}
