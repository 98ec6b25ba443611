// What was last chosen for each model (steps, size, guidance, sampler), kept in localStorage under `modelSettings`.

import { localStore } from "./storage.js";

const KEY = "modelSettings";

/** {steps, width, height, guidance, scheduler} as far as they were chosen for this model; {} otherwise. */
export function settingsOf(modelId) {
  const known = read()[modelId];
  return known && typeof known === "object" ? known : {};
}

/** Keeps `changes` for this model; undefined values are forgotten. */
export function keepSettings(modelId, changes) {
  const all = read();
  all[modelId] = { ...settingsOf(modelId), ...changes };
  localStore.write(KEY, JSON.stringify(all));
}

function read() {
  const found = localStore.readJson(KEY, {});
  return found && typeof found === "object" && !Array.isArray(found) ? found : {};
}
