// A mask: what is painted is opaque. Strokes, areas and their undo; as a picture for the API (white on black).

const STEPS = 60; // that can be undone
const PIXELS = 64_000_000; // that the undo may hold, in all
export const COLOUR = "#3dff8f";

export class Mask {
  #done = [];
  #undone = [];
  #before; // as it was before the present stroke
  #touched = null; // [left, top, right, bottom] of the present stroke

  /** `changed` is called after each step. */
  constructor(width, height, changed = () => {}) {
    this.changed = changed;
    this.canvas = canvasOf(width, height);
    this.context = this.canvas.getContext("2d");
    this.#before = canvasOf(width, height);
  }

  get width() {
    return this.canvas.width;
  }

  get height() {
    return this.canvas.height;
  }

  /** Part of a stroke: from one place to another, `size` wide. `commit` ends the stroke. */
  line([x0, y0], [x1, y1], size, erase = false) {
    const { context } = this;
    this.#mode(erase);
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1 + (x0 === x1 && y0 === y1 ? 0.01 : 0)); // a dot is drawn too
    context.stroke();
    const r = size / 2 + 2;
    this.#touch(Math.min(x0, x1) - r, Math.min(y0, y1) - r, Math.max(x0, x1) + r, Math.max(y0, y1) + r);
  }

  /** The area inside a closed path. */
  area(points, erase = false) {
    if (points.length < 3) return;
    const path = new Path2D();
    points.forEach(([x, y], at) => (at ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
    this.#mode(erase);
    this.context.fill(path);
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    this.#touch(Math.min(...xs) - 2, Math.min(...ys) - 2, Math.max(...xs) + 2, Math.max(...ys) + 2);
    this.commit();
  }

  invert() {
    const { context, width, height } = this;
    context.globalCompositeOperation = "xor";
    context.fillStyle = COLOUR;
    context.fillRect(0, 0, width, height);
    this.#whole();
  }

  clear() {
    this.context.clearRect(0, 0, this.width, this.height);
    this.#whole();
  }

  /** Takes over a picture whose white parts are painted, at any size. */
  take(image) {
    const { context, width, height } = this;
    const read = canvasOf(width, height);
    const reading = read.getContext("2d", { willReadFrequently: true });
    reading.drawImage(image, 0, 0, width, height);
    const data = reading.getImageData(0, 0, width, height);
    const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(COLOUR.slice(at, at + 2), 16));
    for (let at = 0; at < data.data.length; at += 4) data.data.set([red, green, blue, data.data[at]], at);
    reading.putImageData(data, 0, 0);
    context.globalCompositeOperation = "copy";
    context.drawImage(read, 0, 0);
    this.#whole();
  }

  /** Ends a stroke: it can be undone from now on. */
  commit() {
    if (!this.#touched) return;
    const [left, top, right, bottom] = this.#touched;
    const [x, y] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
    const [width, height] = [Math.min(this.width, Math.ceil(right)) - x, Math.min(this.height, Math.ceil(bottom)) - y];
    this.#touched = null;
    if (width <= 0 || height <= 0) return;
    this.#done.push({ x, y, width, height, before: cut(this.#before, x, y, width, height), after: cut(this.canvas, x, y, width, height) });
    this.#undone = [];
    this.#keep(x, y, width, height);
    this.#bound();
    this.changed();
  }

  /** Takes the present stroke back. */
  cancel() {
    this.#touched = null;
    this.context.globalCompositeOperation = "copy";
    this.context.drawImage(this.#before, 0, 0);
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  undo() {
    this.#step(this.#done, this.#undone, "before");
  }

  redo() {
    this.#step(this.#undone, this.#done, "after");
  }

  get isEmpty() {
    const small = canvasOf(64, 64); // what averages to nothing in a 64th is nothing
    const context = small.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.canvas, 0, 0, 64, 64);
    const { data } = context.getImageData(0, 0, 64, 64);
    for (let at = 3; at < data.length; at += 4) if (data[at]) return false;
    return true;
  }

  /** A PNG as data URI, white where it is painted, black elsewhere. */
  toUri() {
    const out = canvasOf(this.width, this.height);
    const context = out.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, out.width, out.height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, out.width, out.height);
    return out.toDataURL("image/png");
  }

  #mode(erase) {
    this.context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    this.context.strokeStyle = this.context.fillStyle = COLOUR;
  }

  #touch(left, top, right, bottom) {
    const [l, t, r, b] = this.#touched ?? [left, top, right, bottom];
    this.#touched = [Math.min(l, left), Math.min(t, top), Math.max(r, right), Math.max(b, bottom)];
  }

  #whole() {
    this.#touch(0, 0, this.width, this.height);
    this.commit();
  }

  #step(from, to, which) {
    const step = from.pop();
    if (!step) return;
    to.push(step);
    const { x, y, width, height } = step;
    this.context.globalCompositeOperation = "source-over";
    this.context.clearRect(x, y, width, height);
    this.context.drawImage(step[which], x, y);
    this.#keep(x, y, width, height);
    this.changed();
  }

  #keep(x, y, width, height) {
    const context = this.#before.getContext("2d");
    context.clearRect(x, y, width, height);
    context.drawImage(this.canvas, x, y, width, height, x, y, width, height);
  }

  #bound() {
    const held = () => this.#done.reduce((sum, { width, height }) => sum + 2 * width * height, 0);
    while (this.#done.length > STEPS || (this.#done.length > 1 && held() > PIXELS)) this.#done.shift();
  }
}

export function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function cut(source, x, y, width, height) {
  const part = canvasOf(width, height);
  part.getContext("2d").drawImage(source, x, y, width, height, 0, 0, width, height);
  return part;
}
