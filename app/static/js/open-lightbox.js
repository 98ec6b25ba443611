// Opens the lightbox, importing it on first use.

import { style } from "./router.js";

/** `more` is called near the end of `items` to append further ones. */
export async function openLightbox(items, index, more = null) {
  const [lightbox] = await Promise.all([import("./lightbox.js"), style("lightbox")]);
  lightbox.open(items, index, more);
}
