// Opens the lightbox, fetching it when it is first needed.

import { style } from "./router.js";

/** `items` may still grow; `more` is asked for further ones when the end comes near. */
export async function openLightbox(items, index, more = null) {
  const [lightbox] = await Promise.all([import("./lightbox.js"), style("lightbox")]);
  lightbox.open(items, index, more);
}
