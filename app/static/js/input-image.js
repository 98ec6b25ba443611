// The input pictures of the form: those to start from, with a mask or an extension, references and controls, and the
// strength. A model gets what it supports; what it cannot use is said before anything is sent.

import { catalog } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { chosen } from "./picker.js";
import { followPicture } from "./size.js";
import { paint } from "./steps.js";
import { t } from "./strings.js";

const LONGEST_SIDE = 1536; // larger images are scaled down here: the model would do it anyway
const [box, picture, strength, note] = ["#start", "#start-picture", "#strength", "#start-note"].map((id) => $(id));
let images = []; // {source, shown, name, extend?}; `source` as in the API: the id of a gallery image, or a data URI
let part = null; // {source, shown, settings}: the mask of images[0], and the settings that belong to it
let others = []; // {role, source, shown, name, …fields}: controls, and references for adapters
let following = true; // whether the size takes the picture's shape
let receiver = null; // takes the image instead: the field of a provider's model

export const setReceiver = (next) => (receiver = next);

/** Whether any model supports an input image. */
export const canUseInputImage = () => catalog.models.some(takes);

/** How many input images a request to `model` may have. */
export const mostImages = (model) => (takes(model) ? (model.limits.max_input_images ?? 1) : 0);

/** Everything that was chosen, to be kept or restored by `setInputs`. */
export const chosenInputs = () => ({ images, part, others, strength: strength.value });

/** The images for a request to `model`, as its fields, and the settings that belong to them; {} when there is none. */
export function chosenInputImage(model) {
  const sent = images.slice(0, mostImages(model)).map(({ source, extend }, at) => ({ role: at ? "reference" : "image", source, ...(extend && !at ? { extend } : {}) }));
  if (sent.length && part) sent.push({ role: "mask", source: part.source });
  const extra = others.filter(({ role }) => model.roles?.includes(role)).map(({ shown: _, name: __, ...input }) => input);
  const fields = fieldsOf([...sent, ...extra]);
  if (!sent.length) return fields;
  return { ...fields, ...(hasStrength(model) ? { strength: Number(strength.value) } : {}), ...(part ? { more: part.settings } : {}) };
}

/** Why a request to `model` would not have what was chosen; null if it would. */
export function inputProblem(model) {
  if (part && images.length && !masks(model)) return t`${model.name} cannot repaint a part of a picture. Choose another model, or remove the mask.`;
  if (images[0]?.extend && !masks(model)) return t`${model.name} cannot extend a picture. Choose another model, or remove the picture.`;
  return null;
}

/** The fields of a request for input images with roles. */
export function fieldsOf(inputs) {
  const plain = inputs.every((input) => Object.keys(input).length === 2 && ["image", "mask"].includes(input.role));
  if (!inputs.length) return {};
  return plain && inputs.length < 3 ? Object.fromEntries(inputs.map(({ role, source }) => [role, source])) : { inputs };
}

export function useInputImage(item) {
  setImage({ source: item.image_id, shown: item.thumbnail_url, name: item.prompt });
  location.hash = "#/";
  $("#prompt").focus();
}

/** Throws when the browser cannot decode `file` as an image. */
export async function useInputFile(file) {
  const uri = await scaled(file);
  setImage({ source: uri, shown: uri, name: file.name });
}

/** Adds a control or a reference for an adapter. */
export function addInput(input) {
  others = [...others, input];
  return applyInputImage();
}

/** Resolves when `next` is shown. */
export function changeImages(next) {
  if (next[0]?.source !== images[0]?.source) part = null; // it was drawn on another one
  images = next;
  return applyInputImage();
}

/** Replaces everything: `images` as above, `part` with the mask, `others`, `strength`. The size stays, if it is `sized`. */
export function setInputs(next, { sized = false } = {}) {
  ({ images = [], part = null, others = [] } = next);
  following = !sized;
  if (next.strength) strength.value = next.strength;
  return applyInputImage();
}

export async function scaled(file, quality = 0.95) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/webp", quality);
}

/** Shows how the chosen model uses the images. */
export function applyInputImage() {
  const model = chosen();
  const able = takes(model);
  const several = mostImages(model) > 1 || images.length > 1;
  box.hidden = !images.length;
  if (images.length) {
    if (picture.getAttribute("src") !== images[0].shown) picture.src = images[0].shown;
    picture.alt = images[0].name;
  }
  box.toggleAttribute("data-several", several);
  const list = (several && images.length) || $("#input-list") ? import("./input-list.js") : null;
  const slots = others.length || model?.roles?.some((role) => ["control", "reference"].includes(role)) ? import("./input-slots.js") : null;
  strength.disabled = !able || !hasStrength(model);
  box.dataset.able = String(able);
  say(note, describe(model, able));
  overlay();
  show();
  follow();
  slots?.then((module) => module.show(others, model));
  return list?.then((module) => module.show(images, mostImages(chosen())));
}

function describe(model, able) {
  const problem = model && inputProblem(model);
  if (problem) return problem;
  if (able && part) return t`Only the marked part is painted anew.`;
  if (able && images[0]?.extend) return t`It grows by ${sides(images[0].extend)} pixels.`;
  if (able && isVideoModel(model)) return t`The video begins with it.`;
  if (able && strength.disabled) return t`Say in the prompt what to change.`;
  if (able) return t`Less keeps more of the picture.`;
  return t`${model?.name ?? t`This model`} cannot start from a picture. It is kept for a model that can.`;
}

/** The sides of a picture. */
export const SIDE_WORDS = { left: t`left`, top: t`top`, right: t`right`, bottom: t`bottom` };
const sides = (extend) => Object.entries(extend).filter(([, pixels]) => pixels).map(([side, pixels]) => `${pixels} ${SIDE_WORDS[side]}`).join(", ");

/** The mask over the picture. */
function overlay() {
  let shown = $("#start-mask");
  if (!part) return shown?.remove();
  shown ??= picture.insertAdjacentElement("afterend", el("img", { id: "start-mask", alt: t`The part to be painted anew` }));
  shown.src = part.shown;
}

/** The size follows the picture, unless mask and extension decide it. */
function follow() {
  if (!images.length) return followPicture(null);
  const measure = () => picture.naturalWidth && images.length && followPicture({ width: picture.naturalWidth, height: picture.naturalHeight }, following);
  if (picture.complete) measure();
  picture.addEventListener("load", measure, { once: true });
}

// The tasks of a model that is not downloaded yet are unknown: the server checks the request.
const takes = (model) => Boolean(model) && (model.tasks.some((task) => /^img2|^edit$|^inpaint$/.test(task)) || !model.available);
const masks = (model) => model.tasks.includes("inpaint") || !model.available;
const isVideoModel = (model) => model?.media === "video";
const hasStrength = (model) =>
  !isVideoModel(model) && (part ? masks(model) : model.tasks.includes("img2img") || !model.tasks.includes("edit"));

function setImage(next) {
  if (receiver) return receiver(next.source, next.shown);
  following = true;
  const most = mostImages(chosen());
  const kept = images.length < most ? images : images.slice(0, Math.max(0, most - 1)); // a full list loses its last one
  changeImages([...kept, next]);
}

function show() {
  say($("#strength-value"), `${Math.round(strength.value * 100)} %`);
  paint(strength);
  $("#generate-form").dispatchEvent(new CustomEvent("inputs-changed"));
}

strength.addEventListener("input", show);
$("#start-clear").addEventListener("click", () => {
  changeImages([]);
  $("#prompt").focus();
});
