// The input image of the form and its strength. Neither is sent when the model does not support it.

import { catalog } from "./catalog.js";
import { $, say } from "./dom.js";
import { chosen } from "./picker.js";
import { paint } from "./steps.js";

const LONGEST_SIDE = 1536; // larger images are scaled down here: the model would do it anyway
const [box, picture, strength, note] = ["#start", "#start-picture", "#strength", "#start-note"].map((id) => $(id));
let image = null; // as in the API: the id of a gallery image, or a data URI
let receiver = null; // takes the image instead: the field of a provider's model

export const setReceiver = (next) => (receiver = next);

/** Whether any model supports an input image. */
export const canUseInputImage = () => catalog.models.some(takes);

/** {image, strength} for a request to `model`, {} when there is no image or the model does not support it. */
export function chosenInputImage(model) {
  if (!image || !takes(model)) return {};
  return hasStrength(model) ? { image, strength: Number(strength.value) } : { image };
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

export async function scaled(file, quality = 0.95) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/webp", quality);
}

export function clearInputImage() {
  image = null;
  picture.removeAttribute("src");
  box.hidden = true;
}

/** Shows how the chosen model uses the image. */
export function applyInputImage() {
  const able = takes(chosen());
  strength.disabled = !able || !hasStrength(chosen());
  box.dataset.able = String(able);
  if (able && isVideoModel(chosen())) say(note, "The video begins with it.");
  else if (able && strength.disabled) say(note, "Say in the prompt what to change.");
  else if (able) say(note, "Less keeps more of the picture.");
  else say(note, `${chosen()?.name ?? "This model"} cannot start from a picture. It is kept for a model that can.`);
  show();
}

// The tasks of a model that is not downloaded yet are unknown: the server checks the request.
const takes = (model) => Boolean(model) && (model.tasks.some((task) => /^img2|^edit$/.test(task)) || !model.available);
const isVideoModel = (model) => model?.media === "video";
const hasStrength = (model) =>
  !isVideoModel(model) && (model.tasks.includes("img2img") || !model.tasks.includes("edit"));

function setImage(source, shown, name) {
  if (receiver) return receiver(source, shown);
  image = source;
  picture.src = shown;
  picture.alt = name;
  box.hidden = false;
  applyInputImage();
}

function show() {
  say($("#strength-value"), `${Math.round(strength.value * 100)} %`);
  paint(strength);
}

strength.addEventListener("input", show);
$("#start-clear").addEventListener("click", () => {
  clearInputImage();
  $("#prompt").focus();
});
