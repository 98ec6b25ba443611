// Two pictures over each other, with a slider that uncovers one of them.

import { el, setVars } from "./dom.js";
import { t } from "./strings.js";

/**
 * `before` and `after` are {url, label, width, height}; the latter covers the former to the right of the slider. `inset` is
 * where the former lies in the latter: {left, top, width, height} as shares of it.
 */
export function compareSlider(before, after, inset = null) {
  const { width, height } = after;
  const picture = ({ url, label }, className) => el("img", { src: url, alt: label, class: className, draggable: "false" });
  const range = el("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": t`How much is seen of “${before.label}”` });
  const node = el(
    "div",
    { class: "compare", vars: { "--w": width, "--h": height, "--at": "50%" } },
    picture(before, "compare-before"),
    picture(after, "compare-after"),
    el("span", { class: "compare-line", "aria-hidden": "true" }),
    el("span", { class: "chip compare-label", "aria-hidden": "true" }, before.label),
    el("span", { class: "chip compare-label compare-right", "aria-hidden": "true" }, after.label),
    range,
  );
  if (inset) setVars(node, Object.fromEntries(Object.entries(inset).map(([name, share]) => [`--inset-${name}`, `${100 * share}%`])));
  range.addEventListener("input", () => setVars(node, { "--at": `${range.value}%` }));
  return node;
}
