// The generation form: reads all fields, stores the last model and each model's settings, sends the request. Keeps its
// input on errors.

import { ApiError } from "./api.js";
import { catalog } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { applyExamples } from "./examples.js";
import { decimal, plural } from "./format.js";
import { applyInputImage, chosenInputImage, inputProblem } from "./input-image.js";
import { applyLength, chosenLength } from "./length.js";
import { applyLoras, chosenLoras } from "./loras.js";
import { keptPrompt, recordPrompt, startFormState } from "./form-state.js";
import { keepSettings, settingsOf } from "./model-settings.js";
import { toast } from "./notices.js";
import { chosen, describe, fillPicker } from "./picker.js";
import { style } from "./router.js";
import { applySchedulers, chosenScheduler } from "./scheduler.js";
import { chosenSeed, seedIsWrong } from "./seed.js";
import { newKey, send } from "./send.js";
import { applySizes, chosenSize, setSize } from "./size.js";
import { applySteps, paint, showSteps, stepCount } from "./steps.js";
import { localStore, sessionStore } from "./storage.js";
import { t } from "./strings.js";

const COUNTS = [1, 2, 3, 4, 6, 8];

const [form, prompt, negative, guidance, submit, problem] =
  ["#generate-form", "#prompt", "#negative", "#guidance", "#generate", "#form-error"].map((id) => $(id));
let key = newKey(); // of the request in the form; a new one once it was accepted
let sending = false;
let adapting = false; // the form follows the model: what it changes then was not chosen
let guided = false; // whether a guidance scale is sent, or the model's default is used

export function startComposer() {
  prompt.value ||= sessionStore.read("prompt") ?? keptPrompt();
  if (/Mac|iPhone|iPad/.test(navigator.platform)) say($("#shortcut"), "⌘ ↵");
  catalog.changed.on(() => {
    const before = chosen()?.id;
    fillPicker();
    if (chosen() && chosen().id !== before) adapt(Number(localStore.read("lastStepsValue")) || null);
  });
  startFormState(request); // after the listener above: the model is chosen first
  showCount();
}

/** The request as the API takes it. */
export function request() {
  const settings = { num_inference_steps: stepCount(), ...chosenSize(), ...chosenLength(), seed: chosenSeed(), num_images: chosenCount() };
  if (guided) settings.guidance_scale = Number(guidance.value);
  const leftOut = chosen().negative_prompt === false ? "" : negative.value.trim();
  const { strength, more = {}, ...pictures } = chosenInputImage(chosen());
  if (strength) settings.strength = strength;
  Object.assign(settings, more);
  if (more.inpaint_area || pictures.inputs?.some(({ extend }) => extend)) for (const side of ["width", "height"]) delete settings[side];
  Object.assign(settings, chosenScheduler());
  if (form.dataset.upscale && !pictures.image && !pictures.inputs) settings.upscale = JSON.parse(form.dataset.upscale);
  const loras = chosenLoras(chosen());
  if (loras.length) settings.loras = loras;
  return { prompt: prompt.value, model_id: chosen().id, ...(leftOut ? { negative_prompt: leftOut } : {}), ...pictures, settings };
}

function adapt(steps = null) {
  const model = chosen();
  const kept = settingsOf(model.id);
  describe();
  formOf(model);
  adapting = true;
  applySteps(model.steps, kept.steps ?? steps);
  applySizes(model);
  setSize(Number(kept.width), Number(kept.height));
  adapting = false;
  applyExamples(model);
  applyGuidance(model, kept.guidance);
  applyCount(model);
  applyLength(model);
  applyInputImage();
  applyLoras();
  applySchedulers(model, kept.scheduler ?? "");
  $("#negative-field").hidden = model.negative_prompt === false;
  summarize();
}

/** A provider's model has a form of its own; the settings here are hidden then. */
async function formOf(model) {
  const own = Boolean(model.schema_url);
  if (own || form.hasAttribute("data-own")) {
    form.toggleAttribute("data-own", own);
    const made = await import("./model-form.js");
    if (chosen() === model) own ? made.show(model) : made.leave();
  }
}

function applyGuidance({ limits, defaults }, kept) {
  const usual = (Number.isFinite(kept) ? kept : defaults.guidance_scale) ?? null;
  guidance.min = limits.min_guidance_scale;
  guidance.max = limits.max_guidance_scale;
  guidance.value = usual ?? (limits.min_guidance_scale + limits.max_guidance_scale) / 4;
  guided = usual !== null;
  showGuidance();
}

function applyCount({ limits }) {
  const before = chosenCount();
  const counts = COUNTS.filter((count) => count <= limits.max_images);
  const radio = (count) => el("input", { type: "radio", name: "num_images", value: count, checked: count === before });
  $("#count").replaceChildren(...counts.map((count) => el("label", {}, radio(count), String(count))));
  $("#count input:checked") ?? ($("#count input").checked = true);
}

const chosenCount = () => Number($("#count input:checked")?.value ?? 1);

function showGuidance() {
  say($("#guidance-value"), guided ? decimal(guidance.value) : t`the model’s own`);
  paint(guidance);
}

function showCount() {
  const length = [...prompt.value.trim()].length;
  const node = $("#prompt-count");
  node.classList.toggle("over", length > catalog.promptMax);
  say(node, length > catalog.promptMax * 0.6 ? t`${length} of ${catalog.promptMax}` : length ? String(length) : "");
}

function summarize() {
  const seed = chosenSeed();
  const loras = chosenLoras(chosen()).length;
  const parts = [loras ? plural(loras, "LoRA") : "", !guided ? "" : t`guidance ${decimal(guidance.value)}`, seed < 0 ? t`random seed` : t`seed ${seed}`];
  say($("#fine-summary"), parts.filter(Boolean).join(" · "));
}

function remember() {
  localStore.write("lastModelId", $("#model").value);
  localStore.write("lastStepsValue", String(stepCount()));
}

/** Keeps what was chosen for this model; not what the form itself changed. */
function keep(changes) {
  if (!adapting && chosen()) keepSettings(chosen().id, changes);
}

function keepSize() {
  const { width, height } = chosenSize();
  keep({ width, height });
}

async function generate() {
  if (sending) return;
  if (isSignedOut()) return $("#account").click();
  const own = chosen()?.schema_url ? await import("./model-form.js") : $("#batch").open ? await import("./batch-form.js") : null;
  const errors = own?.problems() ?? [];
  const wrong = own ? own.mark(errors) : validationError();
  complain(wrong, errors);
  if (wrong && prompt.value.trim()) openSettings(true); // it may be there
  if (wrong) return;
  remember();
  busy(true);
  try {
    const options = { key, waiting: () => say($("#generate-text"), t`Waiting for the server…`) };
    await (own ? own.submit(options) : send(request(), options));
    recordPrompt();
    openSettings(false);
    if (!own && /\{[^{}]*\|[^{}]*\}/.test(prompt.value)) tellOfBatches();
    key = newKey();
  } catch (error) {
    complain(own?.mark(error.errors ?? []) ?? error.message, error.errors);
    if (error instanceof ApiError) key = newKey();
  } finally {
    busy(false);
  }
}

/** Once: a single picture takes the braces as they are. */
function tellOfBatches() {
  if (sessionStore.read("batches")) return;
  sessionStore.write("batches", "told");
  toast(t`The {…} was sent as it is. A batch makes a picture of each choice.`, { action: { label: t`Batch`, run: openBatch } });
}

/** The settings of a phone, which has no room for them beside the prompt. */
function openSettings(open) {
  form.toggleAttribute("data-open", open);
  $("#settings-open").setAttribute("aria-expanded", String(open));
}

function openBatch() {
  openSettings(true);
  $("#batch").open = true;
  $("#batch > summary").focus();
}

const isSignedOut = () => document.documentElement.dataset.signed === "out";

function validationError() {
  if (!chosen()) return t`The models are still loading. Try again in a moment.`;
  if (!prompt.value.trim()) return t`Say what the picture should show.`;
  const length = [...prompt.value.trim()].length;
  if (length > catalog.promptMax) return t`The prompt has ${length} characters; ${catalog.promptMax} fit.`;
  return seedIsWrong() ? t`The seed is not a whole number.` : inputProblem(chosen());
}

function complain(sentence, errors = []) {
  problem.hidden = !sentence;
  say(problem, sentence ?? "");
  const atFault = sentence && (errors.some(({ field }) => /^(input\.)?prompt$/.test(field)) || !errors.length);
  prompt.setAttribute("aria-invalid", String(Boolean(atFault)));
  if (sentence && (atFault || !errors.length)) prompt.focus();
}

function busy(now) {
  sending = now;
  submit.setAttribute("aria-busy", String(now));
  say($("#generate-text"), now ? t`Sending…` : isSignedOut() ? t`Sign in to generate` : form.dataset.batch || t`Generate`);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  generate();
});
prompt.addEventListener("input", () => {
  sessionStore.write("prompt", prompt.value);
  if (!problem.hidden) complain(null);
  showCount();
});
$("#model").addEventListener("change", () => {
  adapt();
  remember();
});
$("#steps").addEventListener("input", () => {
  showSteps();
  keep({ steps: stepCount() });
  remember();
});
$("#prompts-open").addEventListener("click", async () => {
  const [{ open }] = await Promise.all([import("./prompts.js"), style("prompts")]);
  open();
});
$("#settings-open").addEventListener("click", () => openSettings(!form.hasAttribute("data-open")));
$("#scheduler").addEventListener("change", ({ target }) => keep({ scheduler: target.value || undefined }));
for (const id of ["#sizes", "#free-size"]) $(id).addEventListener("change", keepSize);
$("#swap").addEventListener("click", keepSize);
guidance.addEventListener("input", () => {
  guided = true;
  keep({ guidance: Number(guidance.value) });
  showGuidance();
  summarize();
});
$(".fine").addEventListener("toggle", () => import("./second-pass.js"), { once: true });
$("#batch").addEventListener("toggle", () => import("./batch-form.js"), { once: true });
for (const name of ["seed-changed", "loras-changed"]) form.addEventListener(name, summarize);
