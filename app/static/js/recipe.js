// What a picture or job was made of: its request, and its input pictures, from the gallery or as stored with the job.

import { get, respond, statusOf } from "./api.js";
import { pathTo } from "./base.js";
import { t } from "./strings.js";

const ROLES = { image: "image", mask: "mask", ref: "reference", reference: "reference", control: "control" }; // by the names of slots
const CONTROLS = ["weight", "start", "end", "processor", "model", "mode"];
const REPAINT = ["mask_blur", "mask_invert", "inpaint_area", "inpaint_padding", "inpaint_fill"];

/** The request that made `item`: from its own members when it is a job, else from the image's metadata. */
export async function recipe(item) {
  if (item.settings) return item;
  if (item.manifest) return item.manifest;
  if (item.metadata_url) return (await get(item.metadata_url)).manifest;
  return statusOf(item.job_id);
}

/** Its settings that were given. */
export const givenSettings = ({ settings = {} }) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null && value !== undefined));

/**
 * The inputs of a recipe as the form keeps them: {images, part, others, strength}. Throws Missing when a picture is
 * neither in the gallery nor stored with its job.
 */
export async function inputsOf(made) {
  const slots = Object.entries(made.inputs ?? {});
  const extended = slots.some(([, input]) => input.extend);
  const found = { images: [], part: null, others: [], strength: made.settings?.strength ?? null };
  for (const [slot, input] of slots) {
    const role = input.role ?? ROLES[slot.split("-")[0]];
    if (role === "mask" && extended) continue; // it is made of the extension
    const one = await pictureOf(made.job_id, slot, input, role === "mask");
    const fields = Object.fromEntries(CONTROLS.filter((name) => (input[name] ?? null) !== null).map((name) => [name, input[name]]));
    if (role === "mask") found.part = { ...one, shown: await tinted(one.shown), settings: repaintOf(made) };
    else if (role === "control" || fields.model) found.others.push({ role, ...one, ...fields });
    else found.images.push({ ...one, ...(input.extend ? { extend: input.extend } : {}) });
  }
  return found;
}

export const repaintOf = ({ settings = {} }) => Object.fromEntries(REPAINT.filter((name) => (settings[name] ?? null) !== null).map((name) => [name, settings[name]]));

export class Missing extends Error {
  constructor() {
    super(t`A picture that it was made from is not here any more.`);
  }
}

/** From the gallery if it is there; a mask, and what is not, as stored with the job. */
async function pictureOf(jobId, slot, { image_id: id, extend }, isMask) {
  if (id && !isMask) {
    const shown = pathTo(`api/image/${id}/thumbnail`);
    const there = await respond(`api/image/${id}/thumbnail`, { headers: { Accept: "image/*" } }).then(() => true, (error) => !error.status);
    if (there) return { source: id, shown, name: t`the picture it was made from` };
    if (extend) throw new Missing(); // what is stored has its extension already
  }
  const stored = await respond(`api/jobs/${jobId}/inputs/${slot}`, { headers: { Accept: "image/*" } }).catch((error) => {
    throw error.status ? new Missing() : error;
  });
  const uri = await dataUri(await stored.blob());
  return { source: uri, shown: uri, name: isMask ? t`the mask` : t`the picture it was made from` };
}

export function dataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(t`The picture cannot be read.`));
    reader.readAsDataURL(blob);
  });
}

/** A mask (white is painted) as a translucent overlay of 256 pixels. */
export async function tinted(uri) {
  const image = await loadImage(uri);
  const scale = Math.min(1, 256 / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const data = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < data.data.length; at += 4) data.data.set([61, 255, 143, data.data[at] * 0.6], at);
  context.putImageData(data, 0, 0);
  return canvas.toDataURL("image/png");
}

export function loadImage(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(t`The picture cannot be loaded.`));
    image.src = source;
  });
}
