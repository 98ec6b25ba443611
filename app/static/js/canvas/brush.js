// Painting on a mask with mouse, pen, finger and keys.

import { el, svg } from "../dom.js";

const LEAST = 2; // pixels of the picture
const STEP = 1.15;

export class Brush {
  tool = "brush"; // brush, eraser, lasso or hand
  size = 40; // pixels of the picture
  #pointers = new Map();
  #last = null; // the place of the present stroke
  #path = null; // of the lasso
  #place = null; // of the keyboard's brush
  #isDown = false; // whether the keyboard paints

  /** `box` receives the events, `mask()` is painted on, `viewport` has the picture's place; `changed` is called when tool or size change. */
  constructor(box, viewport, mask, changed) {
    Object.assign(this, { box, viewport, mask, changed });
    this.cursor = el("div", { class: "canvas-cursor", hidden: true });
    this.line = svg("path", { class: "canvas-lasso" });
    box.append(svg("svg", { class: "canvas-lines", "aria-hidden": "true" }, this.line), this.cursor);
    box.addEventListener("pointerdown", (event) => this.#down(event));
    box.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, (event) => this.#up(event));
    box.addEventListener("pointerleave", () => (this.cursor.hidden = true));
    box.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("blur", () => {
      this.#lift();
      this.cursor.hidden = true;
    });
  }

  choose(tool) {
    this.tool = tool;
    this.changed();
  }

  resize(size) {
    const most = Math.max(this.mask().width, this.mask().height) / 2;
    this.size = Math.min(Math.max(LEAST, size), most);
    this.#showCursor();
    this.changed();
  }

  larger = () => this.resize(this.size * STEP + 0.5);
  smaller = () => this.resize(this.size / STEP - 0.5);

  get #erases() {
    return this.tool === "eraser";
  }

  #down(event) {
    if (event.target.closest("button, input")) return;
    event.preventDefault();
    this.box.focus({ preventScroll: true });
    this.box.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.#pointers.size > 1) return this.#abandon(); // two fingers move the picture
    this.pans = this.tool === "hand" || event.button === 1 || this.frozen;
    if (this.pans || event.button > 1) return;
    const place = this.viewport.toPicture(event.clientX, event.clientY);
    if (this.tool === "lasso") this.#path = [place];
    else this.#stroke(place, place, event);
    this.#last = place;
  }

  #move(event) {
    this.#followPointer(event);
    if (!this.#pointers.has(event.pointerId)) return;
    const before = middle(this.#pointers);
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const now = middle(this.#pointers);
    if (this.#pointers.size > 1) {
      const box = this.box.getBoundingClientRect();
      if (before.spread) this.viewport.zoomBy(now.spread / before.spread, now.x - box.left, now.y - box.top);
      return this.viewport.pan(now.x - before.x, now.y - before.y);
    }
    if (this.pans) return this.viewport.pan(now.x - before.x, now.y - before.y);
    if (!this.#last) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const place = this.viewport.toPicture(part.clientX, part.clientY);
      if (this.#path) this.#path.push(place);
      else this.#stroke(this.#last, place, part);
      this.#last = place;
    }
    this.#drawPath();
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#path && event.type === "pointerup") this.mask().area(this.#path, event.shiftKey || event.altKey);
    else if (this.#last) this.mask().commit();
    this.#path = this.#last = null;
    this.#drawPath();
  }

  /** What one finger began before the second one came is no stroke. */
  #abandon() {
    if (this.#last && !this.#path) this.mask().cancel();
    this.#path = this.#last = null;
    this.#drawPath();
  }

  /** A pen draws as wide as it is pressed. */
  #stroke(from, to, { pointerType, pressure, shiftKey }) {
    const width = pointerType === "pen" && pressure ? this.size * (0.2 + 0.8 * pressure) : this.size;
    this.mask().line(from, to, width, this.#erases !== Boolean(shiftKey));
  }

  #drawPath() {
    const { x, y, scale } = this.viewport;
    const points = this.#path?.map(([px, py]) => `${(px * scale + x).toFixed(1)},${(py * scale + y).toFixed(1)}`) ?? [];
    this.line.setAttribute("d", points.length ? `M${points.join("L")}` : "");
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.box.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey || this.frozen) return this.viewport.zoomBy(Math.exp(-event.deltaY * 0.01), event.clientX - box.left, event.clientY - box.top);
    if (event.shiftKey) return this.viewport.pan(-event.deltaY || -event.deltaX, 0);
    this.resize(this.size * Math.exp(-event.deltaY * 0.0015));
  }

  #followPointer({ clientX, clientY, pointerType }) {
    this.#place = null;
    const box = this.box.getBoundingClientRect();
    this.#at = [clientX - box.left, clientY - box.top];
    this.cursor.hidden = pointerType === "touch" || this.frozen || !["brush", "eraser"].includes(this.tool);
    this.#showCursor();
  }

  #at = [0, 0];

  #showCursor() {
    const side = this.size * this.viewport.scale;
    Object.assign(this.cursor.style, { width: `${side}px`, height: `${side}px`, transform: `translate(${this.#at[0] - side / 2}px, ${this.#at[1] - side / 2}px)` });
  }

  /** Arrow keys move the brush, the space bar puts it down and lifts it. */
  #key(event) {
    if (event.target !== this.box || this.frozen || event.ctrlKey || event.metaKey) return;
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    const { width, height } = this.mask();
    const from = this.#place ?? [width / 2, height / 2];
    const pace = event.shiftKey ? 2 : Math.max(2, this.size / 3);
    this.#place = by ? [Math.min(Math.max(0, from[0] + by[0] * pace), width), Math.min(Math.max(0, from[1] + by[1] * pace), height)] : from;
    if (event.key === " ") {
      if (this.#isDown) return this.#lift();
      this.#isDown = true;
    }
    if (this.#isDown) this.mask().line(from, this.#place, this.size, this.#erases);
    const { x, y, scale } = this.viewport;
    this.#at = [this.#place[0] * scale + x, this.#place[1] * scale + y];
    this.cursor.hidden = false;
    this.#showCursor();
  }

  #lift() {
    if (!this.#isDown) return;
    this.#isDown = false;
    this.mask().commit();
  }
}

function middle(pointers) {
  const places = [...pointers.values()];
  const [x, y] = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
  return { x, y, spread: places.length > 1 ? Math.hypot(places[0][0] - places[1][0], places[0][1] - places[1][1]) : 0 };
}
