// A dialog to choose a picture of the gallery.

import { images } from "./api.js";
import { $, button, el, say } from "./dom.js";
import { t } from "./strings.js";

const A_PAGE = 30;
const tiles = el("ul", { class: "picker-tiles" });
const said = el("p", { class: "note", role: "status" });
const more = button(t`More`, null, () => load(), { hidden: true });
const upload = button(t`Upload one`, "file", () => {
  const ask = uploading;
  dialog.close();
  ask?.();
}, { hidden: true });
const dialog = el(
  "dialog",
  { class: "picker-dialog", id: "picker-dialog", "aria-labelledby": "picker-title" },
  el("h2", { id: "picker-title" }, t`Choose a picture`),
  button(null, "close", () => dialog.close(), { class: "round small picker-close", "aria-label": t`Close` }),
  tiles,
  said,
  el("div", { class: "picker-foot" }, more, upload),
);
document.body.append(dialog);
let cursor = null;
let settle = null;
let uploading = null;

/** Resolves to the chosen picture, or null. `upload` is called when a file is to be chosen instead. */
export function pick({ upload: ask = null } = {}) {
  uploading = ask;
  upload.hidden = !ask;
  tiles.replaceChildren();
  cursor = null;
  dialog.showModal();
  load();
  return new Promise((resolve) => (settle = resolve));
}

async function load() {
  say(said, t`Loading…`);
  try {
    const page = await images({ limit: A_PAGE, media: "image", cursor });
    tiles.append(...page.images.filter(({ image_id: id }) => id).map(tile));
    cursor = page.next_cursor;
    more.hidden = !cursor;
    say(said, tiles.children.length ? "" : t`There are no pictures yet.`);
    if (!dialog.contains(document.activeElement) || document.activeElement === dialog) $("button", tiles)?.focus();
  } catch (error) {
    say(said, error.message);
  }
}

function tile(item) {
  const choose = () => {
    settle?.(item);
    settle = null;
    dialog.close();
  };
  return el("li", {}, el("button", { type: "button", onclick: choose, "aria-label": item.prompt.slice(0, 120) || t`A picture` }, el("img", { src: item.thumbnail_url, alt: "", loading: "lazy" })));
}

dialog.addEventListener("close", () => {
  settle?.(null);
  settle = null;
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
addEventListener("popstate", () => dialog.open && dialog.close());
