// Favourites: hearts on tiles, on the stage and in the lightbox, which all show the same.

import { call } from "./api.js";
import { button } from "./dom.js";
import { announce, toast } from "./notices.js";
import { Signal } from "./signal.js";

const known = new Map(); // id → whether it is one, as far as it was changed here
export const favorites = { changed: new Signal() }; // (id, whether it is one)

export const isFavorite = (item) => known.get(item.image_id) ?? Boolean(item.favorite);

/** Many were marked by one request. */
export function marked(ids, favorite) {
  for (const id of ids) {
    known.set(id, favorite);
    favorites.changed.emit(id, favorite);
  }
}

export async function toggleFavorite(item) {
  const wanted = !isFavorite(item);
  marked([item.image_id], wanted);
  announce(wanted ? "A favourite now" : "No favourite any more");
  try {
    await call(`api/image/${item.image_id}/favorite`, { method: wanted ? "PUT" : "DELETE" });
  } catch (error) {
    marked([item.image_id], !wanted);
    toast(error.message, { kind: "error" });
  }
}

/** A button that shows whether `item` is a favourite, and changes it. */
export function heart(item, attributes = {}) {
  const node = button(null, "heart", () => toggleFavorite(item), { class: "round small heart", "aria-label": "Favourite", title: "Favourite (F)", ...attributes });
  const show = () => node.setAttribute("aria-pressed", String(isFavorite(item)));
  const stop = favorites.changed.on((id) => {
    if (id !== item.image_id) return;
    show();
    if (!node.isConnected) stop(); // it was removed with its tile
  });
  show();
  return node;
}
