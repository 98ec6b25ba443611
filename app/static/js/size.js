// The size of the picture: presets in the model's own area, or free numbers within its limits.

import { fitSize, oneSize } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { shape } from "./format.js";
import { t } from "./strings.js";

const SHAPES = [
  ["square", "1:1", 1],
  ["portrait", "3:4", 3 / 4],
  ["landscape", "4:3", 4 / 3],
  ["tall", "9:16", 9 / 16],
  ["wide", "16:9", 16 / 9],
];
const USUAL = 512; // pixels a side, for a model that states no size of its own

const [box, free, width, height] = ["#sizes", "#free-size", "#width", "#height"].map((id) => $(id));
let model = null;
let picture = null; // {width, height} of the picture to start from, if there is one

/** Offers the size of a picture to start from, and chooses it unless `take` is false: another one would cut it. null when
 * there is none. */
export function followPicture(next, take = true) {
  const before = picture;
  picture = next;
  if (!model || oneSize(model) || (Boolean(before) === Boolean(next) && !next)) return;
  const kept = checked();
  draw();
  const shape = (next && !before && take) || kept === "picture" ? radio("picture") : radio(kept);
  (shape ?? box.querySelector("input"))?.click();
  show();
}

/** The size that the server draws when it follows the picture: its own, within the model's usual area. */
function followed() {
  const { width: w, height: h } = picture;
  const area = (model.defaults.width ?? USUAL) * (model.defaults.height ?? USUAL);
  const scale = Math.min(1, Math.sqrt(area / (w * h)));
  return fitSize(model, w * scale, h * scale);
}

/** Offers what `next` can do; keeps a shape that was chosen on purpose when it has one like it. */
export function applySizes(next) {
  const before = box.querySelector("input")?.checked ? null : checked();
  model = next;
  $("#size-field").hidden = oneSize(model) && !model.defaults.width;
  const presets = draw();
  for (const [input, side] of [[width, "width"], [height, "height"]]) {
    Object.assign(input, { min: model.limits[`min_${side}`], max: model.limits[`max_${side}`], step: model.limits.multiple_of });
  }
  if (before === "free" && presets.length) return setSize(Number(width.value), Number(height.value));
  (radio(before) ?? box.querySelector("input"))?.click();
  show();
}

function draw() {
  const presets = oneSize(model) ? [] : presetsOf(model);
  box.replaceChildren(...presets.map(([kind, name, w, h]) => option(kind, name, w, h)));
  return presets;
}

/** {width, height}, or {} for the model's own, or that of the picture to start from. */
export function chosenSize() {
  const kind = checked();
  if (kind === "free") return { width: Number(width.value), height: Number(height.value) };
  const input = radio(kind);
  return input?.dataset.width ? { width: Number(input.dataset.width), height: Number(input.dataset.height) } : {};
}

export function setSize(w, h) {
  if (!model || !w || !h || oneSize(model)) return;
  const [fitW, fitH] = fitSize(model, w, h);
  const same = [...box.querySelectorAll("input")].find((one) => Number(one.dataset.width) === fitW && Number(one.dataset.height) === fitH);
  width.value = fitW;
  height.value = fitH;
  (same ?? radio("free"))?.click();
  show();
}

function presetsOf({ defaults, limits }) {
  const base = defaults.width && defaults.height ? Math.sqrt(defaults.width * defaults.height) : Math.min(USUAL, limits.max_width);
  const own = defaults.width ? [] : [["own", t`Auto`, null, null]];
  if (picture) own.unshift(["picture", t`Picture`, null, null]);
  const found = new Map();
  for (const [kind, name, ratio] of SHAPES) {
    const [w, h] = fitSize(model, base * Math.sqrt(ratio), base / Math.sqrt(ratio));
    if (!found.has(`${w}x${h}`)) found.set(`${w}x${h}`, [kind, name, w, h]);
  }
  return [...own, ...found.values(), ["free", t`Free`, null, null]];
}

function option(kind, name, w, h) {
  const input = el("input", { type: "radio", name: "size", value: kind, data: w ? { width: w, height: h } : {} });
  return el("label", { title: w ? `${w} × ${h}` : kind === "picture" ? t`As the picture to start from, so that nothing of it is cut off` : null }, input, el("i", { class: kind, "aria-hidden": "true" }), name);
}

function show() {
  const isFree = checked() === "free";
  free.hidden = !isFree;
  if (!model) return;
  if (checked() === "picture") {
    const [w, h] = followed();
    return say($("#size-value"), t`${w} × ${h} · as the picture`);
  }
  const { width: w, height: h } = oneSize(model) ? model.defaults : chosenSize();
  const ratio = w && h && shape(w, h);
  say($("#size-value"), w && h ? `${w} × ${h}${ratio ? ` · ${ratio}` : ""}` : t`the model’s own`);
}

function seedFree() {
  if (width.value && height.value) return;
  const [w, h] = fitSize(model, model.defaults.width ?? USUAL, model.defaults.height ?? USUAL);
  [width.value, height.value] = [w, h];
}

const checked = () => box.querySelector("input:checked")?.value ?? null;
const radio = (kind) => [...box.querySelectorAll("input")].find((one) => one.value === kind);

box.addEventListener("change", () => {
  if (checked() === "free") seedFree();
  show();
});
free.addEventListener("change", () => {
  [width.value, height.value] = fitSize(model, Number(width.value) || USUAL, Number(height.value) || USUAL);
  show();
});
$("#swap").addEventListener("click", () => setSize(Number(height.value), Number(width.value)));
