// The frame of an extension: its sides are dragged outwards, or moved with the arrow keys.

import { el, setVars } from "../dom.js";
import { SIDE_WORDS } from "../input-image.js";
import { t } from "../strings.js";

const SIDES = ["left", "top", "right", "bottom"];
const HANDLES = { left: ["left"], top: ["top"], right: ["right"], bottom: ["bottom"], "top-left": ["top", "left"], "top-right": ["top", "right"], "bottom-left": ["bottom", "left"], "bottom-right": ["bottom", "right"] };

export class Frame {
  extend = { left: 0, top: 0, right: 0, bottom: 0 };

  /** `changed` is called after each change. */
  constructor(viewport, changed) {
    Object.assign(this, { viewport, changed });
    this.node = el("div", { class: "canvas-frame", hidden: true }, Object.entries(HANDLES).map(([name, sides]) => this.#handle(name, sides)));
  }

  /** For a picture of this size, drawn by `model`. */
  begin(width, height, model) {
    Object.assign(this, { width, height });
    this.fit(model);
  }

  /** The sizes that `model` draws bound the extension. */
  fit({ limits }) {
    this.limits = limits;
    this.set(this.extend);
  }

  get size() {
    const { left, top, right, bottom } = this.extend;
    return [this.width + left + right, this.height + top + bottom];
  }

  get isEmpty() {
    return SIDES.every((side) => !this.extend[side]);
  }

  set(next) {
    const unit = this.limits?.multiple_of ?? 8;
    const room = { x: (this.limits?.max_width ?? 4096) - this.width, y: (this.limits?.max_height ?? 4096) - this.height };
    const held = { ...this.extend, ...next };
    for (const side of SIDES) {
      const other = { left: "right", right: "left", top: "bottom", bottom: "top" }[side];
      const most = Math.max(0, room[side === "left" || side === "right" ? "x" : "y"] - held[other]);
      held[side] = Math.min(Math.max(0, Math.round(held[side] / unit) * unit), Math.floor(most / unit) * unit);
    }
    this.extend = held;
    setVars(this.node, Object.fromEntries(SIDES.map((side) => [`--${side}`, `${held[side]}px`])));
    this.changed(this);
  }

  #handle(name, sides) {
    const node = el("button", { type: "button", class: `canvas-handle ${name}`, "aria-label": t`Extend ${sides.map((side) => SIDE_WORDS[side]).join(t` and `)}`, data: { handle: name } });
    let begun = null;
    const by = (dx, dy) => {
      const moved = { left: -dx, right: dx, top: -dy, bottom: dy };
      this.set(Object.fromEntries(sides.map((side) => [side, begun[side] + moved[side]])));
    };
    node.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      node.setPointerCapture(event.pointerId);
      begun = { ...this.extend, x: event.clientX, y: event.clientY };
    });
    node.addEventListener("pointermove", (event) => begun && node.hasPointerCapture(event.pointerId) && by((event.clientX - begun.x) / this.viewport.scale, (event.clientY - begun.y) / this.viewport.scale));
    node.addEventListener("pointerup", () => (begun = null));
    node.addEventListener("keydown", (event) => {
      const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!arrow) return;
      event.preventDefault();
      event.stopPropagation();
      begun = { ...this.extend };
      const pace = (this.limits?.multiple_of ?? 8) * (event.shiftKey ? 8 : 1);
      by(arrow[0] * pace, arrow[1] * pace);
      begun = null;
    });
    return node;
  }
}
