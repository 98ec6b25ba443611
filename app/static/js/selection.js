// Multiple selection in the gallery: the selected images, and the bar with the actions on them.

import { download } from "./actions.js";
import { $, button, el, say } from "./dom.js";
import { plural } from "./format.js";
import { removePictures } from "./removal.js";

export class Selection {
  active = false;
  #chosen = new Map(); // image id → item
  #anchor = null; // where a range with shift starts
  #words = el("p", { role: "status" });

  /** `items()` returns the list for ranges and "all". */
  constructor(items) {
    this.items = items;
    this.bar = el(
      "div",
      { class: "selection-bar", hidden: true },
      this.#words,
      button("All", "select", () => this.#all()),
      button("Download", "download", () => [...this.#chosen.values()].forEach(download)),
      button("Delete", "trash", () => this.#remove(), { class: "quiet danger" }),
      button("Done", null, () => this.leave(), { class: "quiet strong" }),
    );
    addEventListener("keydown", (event) => event.key === "Escape" && this.active && !$("dialog[open]") && this.leave());
  }

  /** Adds keyboard handlers and ARIA attributes to a new tile. */
  attach(tile, item) {
    if (!item.image_id) return tile;
    this.#show(tile, item);
    tile.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        event.preventDefault();
        this.#enter();
        this.#toggle(item, event.shiftKey);
      } else if (event.key === "Delete") {
        this.#chosen.set(item.image_id, item);
        this.#remove();
      }
    });
    return tile;
  }

  /** Handles a click on `item` in selection mode or with shift; returns whether it did. */
  takes(item, event) {
    if (event.shiftKey) this.#enter();
    if (!this.active) return false;
    this.#toggle(item, event.shiftKey);
    return true;
  }

  toggleMode() {
    if (this.active) this.leave();
    else this.#enter();
  }

  leave() {
    this.active = false;
    this.#chosen.clear();
    this.#anchor = null;
    this.#refresh();
  }

  #enter() {
    if (this.active) return;
    this.active = true;
    this.#refresh();
  }

  #toggle(item, isRange) {
    const items = this.items();
    const [from, to] = [items.indexOf(this.#anchor ?? item), items.indexOf(item)].sort((a, b) => a - b);
    const on = !this.#chosen.has(item.image_id);
    for (const one of isRange && from >= 0 ? items.slice(from, to + 1) : [item]) {
      if (!one.image_id) continue;
      if (on) this.#chosen.set(one.image_id, one);
      else this.#chosen.delete(one.image_id);
    }
    this.#anchor = item;
    this.#refresh();
  }

  #all() {
    for (const item of this.items()) if (item.image_id) this.#chosen.set(item.image_id, item);
    this.#refresh();
  }

  #remove() {
    const items = [...this.#chosen.values()];
    this.leave();
    if (items.length) removePictures(items);
  }

  #show(tile, item) {
    const chosen = this.#chosen.has(item.image_id);
    if (!this.active) {
      tile.removeAttribute("role");
      tile.removeAttribute("aria-checked");
    } else {
      tile.setAttribute("role", "checkbox");
      tile.setAttribute("aria-checked", String(chosen));
    }
  }

  #refresh() {
    const items = new Map(this.items().map((item) => [item.image_id, item]));
    for (const tile of document.querySelectorAll(".grid .tile[href]")) {
      const item = items.get(tile.dataset.id);
      if (item) this.#show(tile, item);
    }
    $("#select-mode")?.setAttribute("aria-pressed", String(this.active));
    this.bar.hidden = !this.active;
    say(this.#words, this.#chosen.size ? plural(this.#chosen.size, "picture selected", "pictures selected") : "Choose pictures");
    for (const one of this.bar.querySelectorAll("button:nth-of-type(2), button:nth-of-type(3)")) one.disabled = !this.#chosen.size;
  }
}
