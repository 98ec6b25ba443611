// Opens the lightbox, importing it on first use.

import { style } from "./router.js";

async function load() {
  const [lightbox] = await Promise.all([import("./lightbox.js"), style("lightbox")]);
  return lightbox;
}

/** `more` is called near the end of `items` to append further ones. */
export async function openLightbox(items, index, more = null) {
  (await load()).open(items, index, more);
}

/** Opens the picture that the address names, if it names one. */
export async function openAddressed() {
  const id = /[?&]picture=([0-9a-f]{32})(?:&|$)/.exec(location.hash)?.[1];
  if (id) (await load()).openById(id);
}
