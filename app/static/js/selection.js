// Multiple selection in the gallery: by clicks, with shift, by dragging a frame, or all that match the filter; and the
// bar with the actions on them.

import { act } from "./api.js";
import { $, button, el, say } from "./dom.js";
import { marked } from "./favorites.js";
import { plural } from "./format.js";
import { announce, toast } from "./notices.js";
import { removeAll, removePictures } from "./removal.js";
import { t } from "./strings.js";

const ASK_FROM = 50; // pictures: deleting so many at once wants a question
const DRAG_PIXELS = 8;
const PRESS_MILLISECONDS = 500;
const IDS_OF_A_REQUEST = 5000;

export class Selection {
  active = false;
  #chosen = new Map(); // image id → item
  #anchor = null; // where a range with shift starts
  #all = null; // {count, except, filter}: everything that matches, loaded or not
  #words = el("p", { role: "status" });

  /** `grid` has the items, `filter()` is the present one, `total()` resolves to how many match it. */
  constructor({ grid, filter, inBin, total }) {
    Object.assign(this, { grid, filter, inBin, total });
    const only = (bin, node) => Object.assign(node, { bin });
    this.buttons = [
      only(false, button(t`Favourite`, "heart", () => this.#mark())),
      only(false, button(t`Tag`, "tag", () => this.#tag())),
      only(false, button(t`Download`, "download", () => this.#download())),
      only(false, button(t`Delete`, "trash", () => this.#remove(), { class: "quiet danger" })),
      only(true, button(t`Restore`, "undo", () => this.#fromBin("restore"))),
      only(true, button(t`Delete for good`, "trash", () => this.#fromBin("purge"), { class: "quiet danger" })),
    ];
    this.allButton = button(t`All`, "select", () => this.#selectAll());
    this.bar = el("div", { class: "selection-bar", hidden: true, role: "toolbar", "aria-label": t`Selected pictures` }, this.#words, this.allButton, ...this.buttons, button(t`Done`, null, () => this.leave(), { class: "quiet strong" }));
    addEventListener("keydown", (event) => {
      if (!this.active || $("dialog[open]")) return;
      if (event.key === "Escape") this.leave();
      if ((event.ctrlKey || event.metaKey) && event.key === "a" && !event.target.closest("input, textarea")) {
        event.preventDefault();
        this.#selectAll();
      }
    });
    this.#listenForDrags(grid.root);
  }

  /** Adds keyboard handlers and ARIA attributes to the nodes of a new tile. */
  attach(nodes, item) {
    if (!item.image_id) return nodes;
    const [tile] = nodes;
    this.#show(tile, item);
    tile.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        event.preventDefault();
        this.#enter();
        this.#toggle(item, event.shiftKey);
      } else if (event.key === "Delete" && !this.inBin()) {
        this.#chosen.set(item.image_id, item);
        this.#remove();
      }
    });
    return nodes;
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
    this.#anchor = this.#all = null;
    this.#refresh();
  }

  get count() {
    return this.#all ? this.#all.count - this.#all.except.size : this.#chosen.size;
  }

  #isChosen = (id) => (this.#all ? !this.#all.except.has(id) : this.#chosen.has(id));

  #enter() {
    if (this.active) return;
    this.active = true;
    this.#refresh();
  }

  #toggle(item, isRange) {
    const { items } = this.grid;
    const place = (one) => items.findIndex(({ image_id: id }) => id === one?.image_id);
    const [from, to] = [place(this.#anchor ?? item), place(item)].sort((a, b) => a - b);
    const on = !this.#isChosen(item.image_id);
    this.#set(isRange && from >= 0 ? items.slice(from, to + 1) : [item], on);
    this.#anchor = item;
    this.#refresh();
  }

  #set(items, on) {
    for (const one of items) {
      if (!one.image_id) continue;
      if (this.#all) this.#all.except[on ? "delete" : "add"](one.image_id);
      else if (on) this.#chosen.set(one.image_id, one);
      else this.#chosen.delete(one.image_id);
    }
  }

  /** Everything that matches the filter, also what is not loaded yet. */
  async #selectAll() {
    this.#enter();
    try {
      const count = await this.total();
      // Up to now: what is made meanwhile was not there to be selected.
      this.#all = { count, except: new Set(), filter: { until: new Date().toISOString(), ...this.filter() } };
      this.#refresh();
      announce(t`All ${plural(count, "picture")} selected`);
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
  }

  #items() {
    return this.#all ? this.grid.items.filter(({ image_id: id }) => id && this.#isChosen(id)) : [...this.#chosen.values()];
  }

  /** {ids} in requests of at most so many, or one {filter}. */
  #requests() {
    if (this.#all) return [{ filter: this.#all.filter, ...(this.#all.except.size ? { except_ids: [...this.#all.except] } : {}) }];
    const ids = [...this.#chosen.keys()];
    return Array.from({ length: Math.ceil(ids.length / IDS_OF_A_REQUEST) }, (_, at) => ({ ids: ids.slice(at * IDS_OF_A_REQUEST, (at + 1) * IDS_OF_A_REQUEST) }));
  }

  async #remove() {
    const { count } = this;
    if (!count) return;
    const [items, [request], all] = [this.#items(), this.#requests(), this.#all];
    if (count >= ASK_FROM) {
      const { confirm } = await import("./confirm.js");
      const question = t`Delete ${plural(count, "picture")}?`;
      if (!(await confirm({ question, explanation: t`They go into the bin, from where they can be restored for a while.`, label: t`Delete` }))) return;
    }
    this.leave();
    if (all) removeAll(request, items.map(({ image_id: id }) => id), count);
    else removePictures(items);
  }

  /** Does it to all that are selected; whether it was done. */
  async #act(action, more, done) {
    const requests = this.#requests();
    let changed = 0;
    const ids = [];
    try {
      for (const request of requests) {
        const result = await act(action, { ...request, ...more });
        changed += result.changed;
        ids.push(...result.ids);
      }
      const undo = ids.length === changed && changed > 0 ? { label: t`Undo`, run: () => this.#undo(action, ids, more) } : null;
      this.leave();
      toast(done(changed), { action: undo });
      return true;
    } catch (error) {
      toast(error.message, { kind: "error" });
      return false;
    }
  }

  async #undo(action, ids, more) {
    const inverse = { favorite: "unfavorite", unfavorite: "favorite", tag: "untag", untag: "tag" }[action];
    try {
      await act(inverse, { ids, ...more });
      if (inverse.endsWith("favorite")) marked(ids, inverse === "favorite");
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
  }

  /** All become favourites; if they are already, none is any more. */
  async #mark() {
    const items = this.#items();
    const action = items.length && items.every(({ favorite }) => favorite) ? "unfavorite" : "favorite";
    const ids = items.map(({ image_id: id }) => id);
    const words = (count) => (action === "favorite" ? plural(count, "new favourite") : t`${plural(count, "favourite")} less`);
    if (await this.#act(action, {}, words)) marked(ids, action === "favorite");
  }

  async #tag() {
    const [{ askForTag }, { style }] = await Promise.all([import("./tags.js"), import("./router.js")]);
    await style("lightbox");
    const asked = await askForTag(this.count);
    if (!asked) return;
    const said = (pictures, tag) => (asked.action === "tag" ? t`${pictures} tagged “${tag}”` : t`${pictures} without the tag “${tag}”`);
    await this.#act(asked.action, { tags: [asked.tag] }, (count) => said(plural(count, "picture"), asked.tag));
  }

  async #download() {
    const { downloadZip } = await import("./zip.js");
    const requests = this.#requests();
    if (requests.length > 1) return toast(t`Select 5,000 pictures at most, or all that match a filter.`, { kind: "error" });
    downloadZip(requests[0], this.count);
  }

  async #fromBin(run) {
    const bin = await import("./bin.js");
    const filter = this.#all && !this.#all.except.size ? this.#all.filter : null;
    if (await bin[run](this.#items(), filter, this.count)) this.leave();
  }

  #show(tile, item) {
    if (!this.active) {
      tile.removeAttribute("role");
      tile.removeAttribute("aria-checked");
    } else {
      tile.setAttribute("role", "checkbox");
      tile.setAttribute("aria-checked", String(this.#isChosen(item.image_id)));
    }
  }

  #refresh() {
    const items = new Map(this.grid.items.map((item) => [item.image_id, item]));
    for (const tile of document.querySelectorAll(".grid .tile[href]")) {
      const item = items.get(tile.dataset.id);
      if (item) this.#show(tile, item);
    }
    const { count } = this;
    $("#select-mode")?.setAttribute("aria-pressed", String(this.active));
    this.grid.root.dataset.selecting = String(this.active);
    this.bar.hidden = !this.active;
    say(this.#words, count ? plural(count, "picture selected", "pictures selected") : t`Choose pictures`);
    for (const one of this.buttons) {
      one.disabled = !count;
      one.hidden = one.bin !== this.inBin();
    }
  }

  /** A frame drawn with mouse or pen selects what it touches; a long press with a finger selects one. */
  #listenForDrags(root) {
    let begun = null;
    let press = null;
    const band = el("div", { class: "band", hidden: true });
    document.body.append(band);
    const place = ({ clientX, clientY }) => ({ x: clientX + scrollX, y: clientY + scrollY });
    const frame = (event) => {
      const now = place(event);
      const [left, right] = [begun.x, now.x].sort((a, b) => a - b);
      const [top, bottom] = [begun.y, now.y].sort((a, b) => a - b);
      return { left, right, top, bottom };
    };
    const end = () => {
      clearTimeout(press);
      band.hidden = true;
      begun = null;
    };
    root.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      if (event.pointerType !== "touch") begun = { ...place(event), dragged: false, before: new Map(this.#chosen) };
      const item = this.grid.itemOf(event.target);
      if (event.pointerType === "touch" && item?.image_id && !this.active) {
        press = setTimeout(() => {
          this.#enter();
          this.#toggle(item, false);
          swallowClick();
        }, PRESS_MILLISECONDS);
      }
    });
    addEventListener("pointermove", (event) => {
      if (press && event.pointerType === "touch") clearTimeout(press);
      if (!begun) return;
      if (!event.buttons) return end();
      const { left, right, top, bottom } = frame(event);
      if (!begun.dragged && Math.max(right - left, bottom - top) < DRAG_PIXELS) return;
      begun.dragged = true;
      getSelection()?.removeAllRanges();
      this.#enter();
      Object.assign(band.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
      band.hidden = false;
      const box = root.getBoundingClientRect();
      const inside = this.grid.itemsIn(left - scrollX - box.left, top - scrollY - box.top, right - scrollX - box.left, bottom - scrollY - box.top);
      if (!this.#all) this.#chosen = new Map(begun.before);
      this.#set(inside, true);
      this.#refresh();
    });
    addEventListener("pointerup", () => {
      if (begun?.dragged) swallowClick();
      end();
    });
    addEventListener("pointercancel", end);
  }
}

/** The click that ends a drag or a long press opens nothing. */
function swallowClick() {
  const stop = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener("click", stop, { capture: true, once: true });
  setTimeout(() => removeEventListener("click", stop, { capture: true }), 400);
}
