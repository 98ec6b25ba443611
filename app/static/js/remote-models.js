// The provider's models in the picker, besides those of the catalogue. Imported where a provider is configured.

import { get } from "./api.js";
import { catalog, modelNamed } from "./catalog.js";
import { choose, chosen } from "./picker.js";
import { localStore } from "./storage.js";

const AGAIN_MILLISECONDS = 60_000;
const LIMITS = { min_width: 64, max_width: 4096, min_height: 64, max_height: 4096, multiple_of: 1, min_guidance_scale: 0, max_guidance_scale: 20, max_images: 1 };
let listed = [];

export async function startRemoteModels() {
  catalog.changed.on(merge); // the catalogue is read again after an outage
  await load();
}

async function load() {
  try {
    const answers = await Promise.all([get("api/image-models"), get("api/video-models")]);
    listed = answers.flatMap(({ models }) => models);
    merge();
    if (answers.some(({ refreshed_at: fresh }) => !fresh)) setTimeout(load, AGAIN_MILLISECONDS);
  } catch {
    setTimeout(load, AGAIN_MILLISECONDS);
  }
}

/** Adds the models that are missing, and to those of the catalogue where their schemas are. */
function merge() {
  const before = chosen();
  const missing = listed.filter((one) => !catalog.models.find(({ id }) => id === one.model_id)?.schema_url);
  if (!missing.length) return;
  for (const one of missing) {
    const known = catalog.models.find(({ id }) => id === one.model_id);
    const more = { schema_url: one.schema_url, first_frame: one.first_frame, run: `api/run-${one.media}-model` };
    if (known) Object.assign(known, more);
    else catalog.models.push({ ...entry(one), ...more });
  }
  catalog.changed.emit();
  const last = localStore.read("lastModelId"); // written by every choice, so that it is the newest one
  if (last && last !== before?.id && modelNamed(last)?.schema_url) choose(last);
  else if (before?.schema_url) choose(before.id); // its form can be made now
}

/** A listed model as a model of the catalogue. */
function entry({ model, model_id: id, name, media, description, first_frame: first }) {
  const video = media === "video";
  const tasks = video ? ["txt2video", first && "img2video"] : ["txt2img", first && "img2img"];
  return {
    id,
    name,
    description,
    media,
    repo: model,
    aliases: [],
    source: "replicate",
    lane: "remote",
    group: "provider",
    fits: { answer: "yes", plan: null, reason: "" },
    tasks: tasks.filter(Boolean),
    steps: {},
    defaults: {},
    limits: LIMITS,
    negative_prompt: false,
    available: true,
  };
}
