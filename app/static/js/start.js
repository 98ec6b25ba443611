// The picture to start from: which one, and how far to leave it. Nothing of it is sent when the model cannot do that.

import { catalog } from "./catalog.js";
import { $, say } from "./dom.js";
import { chosen } from "./picker.js";
import { paint } from "./steps.js";

const LONGEST_SIDE = 1536; // what is larger is scaled down here: the model would do it anyway
const [box, picture, strength, note] = ["#start", "#start-picture", "#strength", "#start-note"].map((id) => $(id));
let image = null; // as the API takes it: the id of a picture of the gallery, or a data URI

/** Whether any model can start from a picture. */
export const canStart = () => catalog.models.some((model) => model.tasks.includes("img2img"));

/** What a request says of it: {image, strength}, undefined when there is none or `model` cannot use it. */
export function chosenStart(model) {
  if (!image || !takes(model)) return {};
  return isFilm(model) ? { image } : { image, strength: Number(strength.value) };
}

export function startFrom(item) {
  hold(item.image_id, item.thumbnail_url, item.prompt);
  location.hash = "#/";
  $("#prompt").focus();
}

/** Raises when the browser cannot read `file` as a picture. */
export async function startFromFile(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const uri = canvas.toDataURL("image/webp", 0.95);
  hold(uri, uri, file.name);
}

export function clearStart() {
  image = null;
  picture.removeAttribute("src");
  box.hidden = true;
}

/** Says what the chosen model makes of it. */
export function applyStart() {
  const able = takes(chosen());
  const film = isFilm(chosen());
  strength.disabled = !able || film;
  box.dataset.able = String(able);
  if (able && film) say(note, "The video begins with it.");
  else if (able) say(note, "Less keeps more of the picture.");
  else say(note, `${chosen()?.name ?? "This model"} cannot start from a picture. It is kept for a model that can.`);
  show();
}

// Of a model that is not here yet nobody knows: the server will say.
const takes = (model) => Boolean(model) && (model.tasks.some((task) => task.startsWith("img2")) || !model.available);
const isFilm = (model) => model?.media === "video";

function hold(source, shown, name) {
  image = source;
  picture.src = shown;
  picture.alt = name;
  box.hidden = false;
  applyStart();
}

function show() {
  say($("#strength-value"), `${Math.round(strength.value * 100)} %`);
  paint(strength);
}

strength.addEventListener("input", show);
$("#start-clear").addEventListener("click", () => {
  clearStart();
  $("#prompt").focus();
});
