// A small SVG line chart of one number over the last minutes. The caller formats the values.

import { el, say, svg } from "./dom.js";
import { t } from "./strings.js";

const [WIDTH, HEIGHT, PAD] = [320, 88, 6];
const SPAN = 10 * 60_000; // milliseconds shown at most

export class Chart {
  /** `read(status, at, samples)` returns a sample's number, or null; `word(number)` formats it. */
  constructor(title, { read, word, floor = 0 }) {
    Object.assign(this, { title, read, word, floor });
    this.now = el("p", { class: "chart-now" }, "–");
    this.span = el("p", { class: "chart-span" });
    this.area = svg("path", { class: "chart-area" });
    this.line = svg("path", { class: "chart-line" });
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "chart-svg" }, this.area, this.line);
    this.node = el("figure", { class: "chart" }, el("figcaption", {}, title), this.now, this.svg, this.span);
  }

  draw(samples) {
    const from = Math.max(samples.at(0)?.at ?? 0, Date.now() - SPAN);
    const points = samples
      .map(({ at, status }) => ({ at, value: this.read(status, at, samples) }))
      .filter((point) => point.at >= from && point.value !== null && Number.isFinite(point.value));
    this.node.hidden = points.length === 0;
    if (!points.length) return;
    const values = points.map((point) => point.value);
    const most = Math.max(...values, this.floor || 1);
    const least = Math.min(...values, 0);
    const span = Math.max(points.at(-1).at - from, 1);
    const x = (point) => (points.length === 1 ? WIDTH : (WIDTH * (point.at - from)) / span);
    const y = (point) => HEIGHT - PAD - ((HEIGHT - 2 * PAD) * (point.value - least)) / (most - least || 1);
    const path = points.map((point) => `${x(point).toFixed(1)},${y(point).toFixed(1)}`).join("L");
    this.line.setAttribute("d", points.length === 1 ? `M0,${y(points[0])}L${path}` : `M${path}`);
    this.area.setAttribute("d", `M${points.length === 1 ? 0 : x(points[0])},${HEIGHT}L${path}L${WIDTH},${HEIGHT}Z`);
    const minutes = Math.max(1, Math.round(span / 60_000));
    say(this.now, this.word(values.at(-1)));
    const [low, high] = [this.word(Math.min(...values)), this.word(Math.max(...values))];
    const lately = minutes === 1 ? t`minute` : t`${minutes} minutes`;
    say(this.span, low === high ? t`Steady for the last ${lately}` : t`${low} to ${high} in the last ${lately}`);
    this.svg.setAttribute("aria-label", t`${this.title}: now ${this.word(values.at(-1))}, ${this.span.textContent}`);
  }
}
