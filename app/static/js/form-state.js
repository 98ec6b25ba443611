// Keeps the whole form in this browser, and what was sent: nothing is lost by a reload or in a new window.

import { catalog } from "./catalog.js";
import { $ } from "./dom.js";
import { chosenInputs } from "./input-image.js";
import { chosen } from "./picker.js";
import { localStore } from "./storage.js";

const KEY = "form";
const HISTORY = "prompts";
const DEFAULTS = "defaults";
const MOST_PROMPTS = 200;
const MOST_CHARACTERS = 2_000_000; // of pictures: a browser stores five million in all
const SAVE_MILLISECONDS = 400;

let ready = false; // what was kept is in the form; from now on its changes are kept
let timer = null;
let settle = null;
export const restored = new Promise((resolve) => (settle = resolve)); // when what was kept is in the form
let read = null; // the request that the form describes

/** `request()` is the form as the API takes it. */
export function startFormState(request) {
  read = request;
  const form = $("#generate-form");
  for (const name of ["input", "change", "click", "inputs-changed", "seed-changed"]) form.addEventListener(name, later);
  addEventListener("pagehide", () => timer && save());
  const stop = catalog.changed.on(() => {
    if (ready || !chosen()) return;
    stop();
    restore().finally(() => settle((ready = true)));
  });
}

/** The prompt that was left here, before the models are known. */
export const keptPrompt = () => String(localStore.readJson(KEY, {})?.prompt ?? "");

/** The form as it can be restored; without the input of a provider's model, whose form is not kept. */
export function snapshot() {
  if (!chosen() || chosen().schema_url) return { prompt: $("#prompt").value };
  const { image: _, mask: __, inputs: ___, ...rest } = read();
  delete rest.settings.strength;
  return { ...rest, negative_prompt: $("#negative").value };
}

/** Fills the form with a snapshot. */
export async function fill(kept) {
  const { apply } = await import("./restore.js");
  apply(kept);
}

function later() {
  if (!ready) return;
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_MILLISECONDS);
}

function save() {
  timer = null;
  const inputs = chosenInputs();
  const kept = { ...snapshot(), inputs };
  const text = JSON.stringify(kept);
  localStore.write(KEY, text.length <= MOST_CHARACTERS ? text : JSON.stringify({ ...kept, inputs: null }));
}

async function restore() {
  const kept = localStore.readJson(KEY, null) ?? localStore.readJson(DEFAULTS, null);
  if (!kept?.settings) return;
  const { inputs, ...form } = kept;
  await fill({ ...form, prompt: $("#prompt").value || form.prompt });
  if (!inputs?.images?.length && !inputs?.others?.length) return;
  const { setInputs } = await import("./input-image.js");
  await setInputs(inputs, { sized: true });
}

/** Adds what was sent to the history; the same prompt is in it once. */
export function recordPrompt() {
  const kept = { ...snapshot(), at: Date.now() };
  if (!kept.prompt.trim()) return;
  const others = promptHistory().filter(({ prompt }) => prompt !== kept.prompt);
  localStore.write(HISTORY, JSON.stringify([kept, ...others].slice(0, MOST_PROMPTS)));
}

/** What was sent from this browser, newest first. */
export function promptHistory() {
  const found = localStore.readJson(HISTORY, []);
  return Array.isArray(found) ? found.filter((one) => typeof one?.prompt === "string") : [];
}

export const forgetPrompt = (prompt) => localStore.write(HISTORY, JSON.stringify(promptHistory().filter((one) => one.prompt !== prompt)));

export const defaults = {
  read: () => localStore.readJson(DEFAULTS, null),
  write: (kept) => localStore.write(DEFAULTS, JSON.stringify(kept)),
};
