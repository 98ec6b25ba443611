// Settings that were kept under a name, in this browser.

import { localStore } from "./storage.js";

const KEY = "presets";
const MOST = 50;

/** As [{name, form}]; what is no preset is left out. */
export function storedPresets() {
  const found = localStore.readJson(KEY, []);
  return Array.isArray(found) ? found.filter((one) => typeof one?.name === "string" && one.form) : [];
}

const others = (name) => storedPresets().filter((one) => one.name !== name);

/** In place of one of the same name; the oldest go. */
export const keepPreset = (name, form) => localStore.write(KEY, JSON.stringify([...others(name), { name, form }].slice(-MOST)));

export const removePreset = (name) => localStore.write(KEY, JSON.stringify(others(name)));
