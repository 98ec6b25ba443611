// Zoom and pan of a picture in a box: by wheel, pinch, drag and keys. Positions are in pixels of the box.

const MOST = 16; // pixels of the screen for one of the picture
const KEYS = { "+": 1.25, "=": 1.25, "-": 0.8 };

export class Viewport {
  scale = 1; // pixels of the box for one of the picture
  x = 0; // of the picture's left edge
  y = 0;

  /** `box` clips `content`, which is laid out at its own size of `width` × `height` pixels and gets a transform. `changed` is called after each change. */
  constructor(box, content, changed = () => {}) {
    Object.assign(this, { box, content, changed });
    content.style.transformOrigin = "0 0";
    new ResizeObserver(() => this.width && this.#isFit && this.fit()).observe(box);
  }

  #isFit = true;

  /** Another picture: it is shown as a whole, small ones up to `most` times as large as they are. */
  show(width, height, most = 3) {
    Object.assign(this, { width, height, most });
    this.fit();
  }

  get fitScale() {
    const { clientWidth: w, clientHeight: h } = this.box;
    return Math.min(w / this.width, h / this.height, this.most);
  }

  get isZoomed() {
    return this.scale > this.fitScale * 1.01;
  }

  fit() {
    this.#isFit = true;
    this.#set(this.fitScale, 0, 0);
  }

  /** One pixel of the picture is one of the screen, at a place of the box. */
  actualSize(x = this.box.clientWidth / 2, y = this.box.clientHeight / 2) {
    this.zoomTo(1 / devicePixelRatio, x, y);
  }

  zoomBy(factor, x = this.box.clientWidth / 2, y = this.box.clientHeight / 2) {
    this.zoomTo(this.scale * factor, x, y);
  }

  /** The place under (x, y) stays there. */
  zoomTo(scale, x, y) {
    const next = Math.min(Math.max(scale, Math.min(this.fitScale, 1 / devicePixelRatio) * 0.5), MOST);
    const ratio = next / this.scale;
    this.#isFit = false;
    this.#set(next, x - (x - this.x) * ratio, y - (y - this.y) * ratio);
  }

  pan(dx, dy) {
    this.#isFit = false;
    this.#set(this.scale, this.x + dx, this.y + dy);
  }

  /** A place of the window as pixels of the picture. */
  toPicture(clientX, clientY) {
    const box = this.box.getBoundingClientRect();
    return [(clientX - box.left - this.x) / this.scale, (clientY - box.top - this.y) / this.scale];
  }

  /** Zooms as a key says; whether it is one. */
  key(name) {
    if (name in KEYS) this.zoomBy(KEYS[name]);
    else if (name === "0") this.fit();
    else if (name === "1") this.actualSize();
    else return false;
    return true;
  }

  /** A picture that is smaller than the box is centred, a larger one has no edge inside it. */
  #set(scale, x, y) {
    const held = (place, inner, outer) => (inner <= outer ? (outer - inner) / 2 : Math.min(0, Math.max(outer - inner, place)));
    this.scale = scale;
    this.x = this.free ? x : held(x, this.width * scale, this.box.clientWidth);
    this.y = this.free ? y : held(y, this.height * scale, this.box.clientHeight);
    if (this.free && this.#isFit) [this.x, this.y] = [(this.box.clientWidth - this.width * scale) / 2, (this.box.clientHeight - this.height * scale) / 2];
    this.content.style.transform = `translate(${this.x}px, ${this.y}px) scale(${scale})`;
    this.changed(this);
  }
}

/**
 * Gestures of fingers, pen and mouse on `box`: `pinch(factor, x, y, dx, dy)` with two pointers, `drag(dx, dy, event)` with
 * one, `end(dx, dy, milliseconds, event)` with the whole movement of one. `takes(event)` says whether a pointer counts.
 */
export function gestures(box, { takes = () => true, drag = () => {}, pinch = () => {}, end = () => {} }) {
  const down = new Map();
  let began = null;
  const middle = () => {
    const places = [...down.values()];
    const [x, y] = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    const spread = places.length > 1 ? Math.hypot(places[0][0] - places[1][0], places[0][1] - places[1][1]) : 0;
    return { x, y, spread };
  };
  box.addEventListener("pointerdown", (event) => {
    if (!takes(event)) return;
    down.set(event.pointerId, [event.clientX, event.clientY]);
    began = down.size === 1 ? { x: event.clientX, y: event.clientY, at: event.timeStamp } : null;
  });
  box.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    if (event.pointerType === "mouse" && !event.buttons) return down.delete(event.pointerId);
    if (!box.hasPointerCapture(event.pointerId) && began && Math.hypot(event.clientX - began.x, event.clientY - began.y) > 4) box.setPointerCapture(event.pointerId);
    const before = middle();
    down.set(event.pointerId, [event.clientX, event.clientY]);
    const now = middle();
    if (down.size > 1) {
      const rect = box.getBoundingClientRect();
      pinch(before.spread ? now.spread / before.spread : 1, now.x - rect.left, now.y - rect.top, now.x - before.x, now.y - before.y);
    } else drag(now.x - before.x, now.y - before.y, event);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId) || !began || event.type === "pointercancel") return;
    end(event.clientX - began.x, event.clientY - began.y, event.timeStamp - began.at, event);
    began = null;
  };
  for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, up);
}
