// Opens the command palette, importing it on first use.

import { style } from "./router.js";

export const isPaletteKey = ({ key, ctrlKey, metaKey, altKey, shiftKey }) => key.toLowerCase() === "k" && ctrlKey !== metaKey && !altKey && !shiftKey;

export async function openPalette() {
  const [palette] = await Promise.all([import("./palette.js"), style("palette")]);
  palette.open();
}
