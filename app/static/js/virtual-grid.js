// Virtual grid of tiles in justified rows: only rows near the viewport are in the document. Row positions are computed
// from the items' sizes, so the layout does not shift.

import { el } from "./dom.js";

const GAP = 10;
const HEADING = 46; // pixels above the first row of a day
const OVERSCAN = 900; // pixels above and below the window
const NEAR_END = 2200;

/**
 * Rows of {start, end, top, height, heading}; `rows` are those laid out before. The last row of all, and of each day, keeps
 * about the usual height. `heading(item)` is the text above the items that share it; a row has it where it changes.
 */
export function layoutRows(items, width, usual, rows = [], heading = () => null) {
  rows.pop(); // it may not have been full
  let top = rows.length ? rows.at(-1).top + rows.at(-1).height + GAP : 0;
  let start = rows.length ? rows.at(-1).end : 0;
  let sum = 0;
  let said = start ? heading(items[start - 1]) : null;
  let now = start < items.length ? heading(items[start]) : null;
  for (let index = start; index < items.length; index++) {
    sum += ratio(items[index]);
    const height = (width - GAP * (index - start)) / sum;
    const next = index < items.length - 1 ? heading(items[index + 1]) : null;
    if (height > usual && index < items.length - 1 && next === now) continue;
    const isNew = now !== null && now !== said;
    if (isNew) top += HEADING;
    rows.push({ start, end: index + 1, top, height: Math.min(height, usual * 1.15), heading: isNew ? now : null });
    [said, now] = [now, next];
    top += rows.at(-1).height + GAP;
    start = index + 1;
    sum = 0;
  }
  return rows;
}

export const ratio = (item) => Math.min(Math.max((item.width || 1) / (item.height || 1), 0.6), 2.2);

export class VirtualGrid {
  items = [];
  #rows = [];
  #nodes = new Map(); // key → <li>
  #focus = 0;

  /** `make(item)` returns the nodes of a tile, `key(item)` its key; `near()` is called near the end of the list. */
  constructor(root, { make, key, near, heading }) {
    Object.assign(this, { root, make, key, near, heading });
    let asked = false;
    const later = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        this.draw();
      });
    };
    addEventListener("scroll", later, { passive: true });
    new ResizeObserver(() => this.#layout() || later()).observe(root);
    root.addEventListener("keydown", (event) => this.#onKeydown(event));
    root.addEventListener("focusin", (event) => {
      const index = Number(event.target.closest("li")?.dataset.index);
      if (Number.isInteger(index) && !event.target.closest(".day")) this.#focus = index;
    });
  }

  /** Shows other items; nodes of those that stay are kept, so that their pictures are not drawn again. */
  set(items) {
    this.items = items;
    const places = new Map(items.map((item, index) => [this.key(item), index]));
    let [hadFocus, last] = [false, -1];
    for (const node of [...this.root.children]) {
      const key = node.key;
      const place = places.get(key) ?? -1;
      node.row = null;
      if (place > last) {
        node.dataset.index = last = place; // new ones are inserted by the places of these
        continue;
      }
      hadFocus ||= node.contains(document.activeElement);
      node.remove();
      this.#nodes.delete(key);
    }
    this.#focus = Math.min(this.#focus, Math.max(0, items.length - 1));
    this.#layout();
    this.draw();
    if (hadFocus) this.focusItem(this.#focus); // that of a removed item goes to the one in its place
  }

  append(items) {
    this.items.push(...items);
    this.#rows = layoutRows(this.items, this.#width, this.#usual, this.#rows, this.heading);
    this.draw();
  }

  draw() {
    if (!this.root.offsetParent) return; // its view is hidden
    const top = -this.root.getBoundingClientRect().top;
    const shown = this.#rows.filter((row) => row.top + row.height > top - OVERSCAN && row.top < top + innerHeight + OVERSCAN);
    const wanted = new Map();
    for (const row of shown) this.#placeRow(row, wanted);
    for (const [key, node] of this.#nodes) {
      if (wanted.has(key) || node.contains(document.activeElement)) continue;
      node.remove();
      this.#nodes.delete(key);
    }
    const last = this.#rows.at(-1);
    const height = last ? last.top + last.height : 0;
    this.root.style.height = `${height}px`;
    if (height - top - innerHeight < NEAR_END) this.near();
  }

  /** The item whose tile `node` is in. */
  itemOf(node) {
    const index = Number(node.closest?.("li")?.dataset.index);
    return Number.isInteger(index) ? this.items[index] : null;
  }

  /** The items whose tiles touch a rectangle, in pixels from the corner of the list, drawn or not. */
  itemsIn(left, top, right, bottom) {
    const found = [];
    for (const row of this.#rows) {
      if (row.top > bottom || row.top + row.height < top) continue;
      let x = 0;
      for (let index = row.start; index < row.end; index++) {
        const width = ratio(this.items[index]) * row.height;
        if (x <= right && x + width >= left) found.push(this.items[index]);
        x += width + GAP;
      }
    }
    return found;
  }

  #placeHeading(row, wanted) {
    const key = `day ${row.heading} ${row.start}`;
    const node = this.#nodes.get(key) ?? this.#insert(key, el("li", { class: "day", data: { index: row.start - 0.5 } }, el("h2", {}, row.heading)));
    wanted.set(key, node);
    node.style.transform = `translate(0, ${row.top - HEADING}px)`;
  }

  #placeRow(row, wanted) {
    if (row.heading) this.#placeHeading(row, wanted);
    let left = 0;
    for (let index = row.start; index < row.end; index++) {
      const item = this.items[index];
      const width = ratio(item) * row.height;
      const node = this.#nodes.get(this.key(item)) ?? this.#add(item, index);
      wanted.set(this.key(item), node);
      if (node.row !== row) {
        node.row = row; // a row that was laid out again is another object
        Object.assign(node.style, { width: `${width}px`, height: `${row.height}px`, transform: `translate(${left}px, ${row.top}px)` });
        node.dataset.index = index;
        node.setAttribute("aria-posinset", index + 1);
      }
      const reachable = index === this.#focus ? 0 : -1;
      if (node.firstElementChild.tabIndex !== reachable) node.firstElementChild.tabIndex = reachable;
      left += width + GAP;
    }
  }

  #add(item, index) {
    return this.#insert(this.key(item), el("li", { "aria-setsize": "-1", data: { index } }, this.make(item)));
  }

  /** Reading order is the order of the items. */
  #insert(key, node) {
    this.#nodes.set(key, node);
    node.key = key;
    const after = [...this.root.children].find((other) => Number(other.dataset.index) > Number(node.dataset.index));
    this.root.insertBefore(node, after ?? null);
    return node;
  }

  get #width() {
    return this.root.clientWidth;
  }

  get #usual() {
    return this.#width < 600 ? 150 : this.#width < 1100 ? 200 : 236;
  }

  #layout() {
    this.#rows = layoutRows(this.items, this.#width, this.#usual, [], this.heading);
  }

  #onKeydown(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: "down", ArrowUp: "up", Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !event.target.closest("li") || event.target.closest("input, textarea")) return;
    event.preventDefault();
    const next = typeof by === "string" ? this.#itemInRow(by === "down" ? 1 : -1) : this.#focus + by;
    this.focusItem(Math.min(Math.max(next, 0), this.items.length - 1));
  }

  /** The index of the item in the row below (or above) the focused one. */
  #itemInRow(by) {
    const at = this.#rows.findIndex((row) => this.#focus < row.end);
    const [here, there] = [this.#rows[at], this.#rows[at + by]];
    if (!there) return this.#focus;
    const share = (this.#focus - here.start + 0.5) / (here.end - here.start);
    return Math.min(there.start + Math.floor(share * (there.end - there.start)), there.end - 1);
  }

  focusItem(index) {
    if (!this.items[index]) return;
    this.#focus = index;
    const row = this.#rows.find((one) => index < one.end);
    const top = this.root.getBoundingClientRect().top + row.top;
    if (top < 130) scrollBy({ top: top - 130, behavior: "instant" });
    else if (top + row.height > innerHeight - 90) scrollBy({ top: top + row.height - innerHeight + 90, behavior: "instant" });
    this.draw();
    this.#nodes.get(this.key(this.items[index]))?.firstElementChild.focus({ preventScroll: true });
  }
}
