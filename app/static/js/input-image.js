// The input images of the form and their strength. A model gets as many as it supports, the first ones.

import { catalog } from "./catalog.js";
import { $, say } from "./dom.js";
import { chosen } from "./picker.js";
import { paint } from "./steps.js";

const LONGEST_SIDE = 1536; // larger images are scaled down here: the model would do it anyway
const [box, picture, strength, note] = ["#start", "#start-picture", "#strength", "#start-note"].map((id) => $(id));
let images = []; // {source, shown, name}; `source` as in the API: the id of a gallery image, or a data URI
let receiver = null; // takes the image instead: the field of a provider's model

export const setReceiver = (next) => (receiver = next);

/** Whether any model supports an input image. */
export const canUseInputImage = () => catalog.models.some(takes);

/** How many input images a request to `model` may have. */
export const mostImages = (model) => (takes(model) ? (model.limits.max_input_images ?? 1) : 0);

/** The images for a request to `model`, as its fields, and the strength; {} when there is none that it supports. */
export function chosenInputImage(model) {
  const sent = fieldsOf(images.slice(0, mostImages(model)).map(({ source }, at) => ({ role: at ? "reference" : "image", source })));
  return sent.image && hasStrength(model) ? { ...sent, strength: Number(strength.value) } : sent;
}

/** The fields of a request for input images with roles. */
export function fieldsOf(inputs) {
  if (!inputs.length) return {};
  return inputs.length === 1 ? { image: inputs[0].source } : { inputs };
}

export function useInputImage(item) {
  setImage(item.image_id, item.thumbnail_url, item.prompt);
  location.hash = "#/";
  $("#prompt").focus();
}

/** Throws when the browser cannot decode `file` as an image. */
export async function useInputFile(file) {
  const uri = await scaled(file);
  setImage(uri, uri, file.name);
}

/** Resolves when `next` is shown. */
export function changeImages(next) {
  images = next;
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
  const able = takes(chosen());
  const several = mostImages(chosen()) > 1 || images.length > 1;
  box.hidden = !images.length;
  if (images.length) [picture.src, picture.alt] = [images[0].shown, images[0].name];
  box.toggleAttribute("data-several", several);
  const list = (several && images.length) || $("#input-list") ? import("./input-list.js") : null;
  strength.disabled = !able || !hasStrength(chosen());
  box.dataset.able = String(able);
  if (able && isVideoModel(chosen())) say(note, "The video begins with it.");
  else if (able && strength.disabled) say(note, "Say in the prompt what to change.");
  else if (able) say(note, "Less keeps more of the picture.");
  else say(note, `${chosen()?.name ?? "This model"} cannot start from a picture. It is kept for a model that can.`);
  show();
  return list?.then((module) => module.show(images, mostImages(chosen())));
}

// The tasks of a model that is not downloaded yet are unknown: the server checks the request.
const takes = (model) => Boolean(model) && (model.tasks.some((task) => /^img2|^edit$/.test(task)) || !model.available);
const isVideoModel = (model) => model?.media === "video";
const hasStrength = (model) =>
  !isVideoModel(model) && (model.tasks.includes("img2img") || !model.tasks.includes("edit"));

function setImage(source, shown, name) {
  if (receiver) return receiver(source, shown);
  const most = mostImages(chosen());
  const kept = images.length < most ? images : images.slice(0, Math.max(0, most - 1)); // a full list loses its last one
  changeImages([...kept, { source, shown, name }]);
}

function show() {
  say($("#strength-value"), `${Math.round(strength.value * 100)} %`);
  paint(strength);
}

strength.addEventListener("input", show);
$("#start-clear").addEventListener("click", () => {
  changeImages([]);
  $("#prompt").focus();
});
