// Restores the settings of an image, a job or a dropped file to the form.

import { modelNamed } from "./catalog.js";
import { $ } from "./dom.js";
import { fillPrompt } from "./examples.js";
import { setInputs } from "./input-image.js";
import { setLength } from "./length.js";
import { setLoras } from "./loras.js";
import { toast } from "./notices.js";
import { choose, chosen } from "./picker.js";
import { inputsOf } from "./recipe.js";
import { setScheduler } from "./scheduler.js";
import { setSecondPass } from "./second-pass.js";
import { setSeed } from "./seed.js";
import { setSize } from "./size.js";
import { applySteps } from "./steps.js";
import { t } from "./strings.js";

/** `made` has prompt, negative_prompt, model_id, settings and inputs in the API's names; absent ones are left unchanged. */
export async function useSettings(made) {
  location.hash = "#/";
  await apply(made);
  if (!made.inputs) return;
  try {
    await setInputs(await inputsOf(made), { sized: Boolean(made.settings?.width) });
  } catch (error) {
    await setInputs({});
    toast(t`${error.message} Choose another one with “From a picture…”.`, { kind: "error" });
  }
}

/** Fills the form, but for its input pictures. */
export function apply(made) {
  const { settings = {} } = made;
  const own = modelNamed(made.model_id ?? "")?.schema_url && inputOf(made);
  if (own) return useInput(made.model_id, own);
  if (made.model_id && !choose(made.model_id)) {
    toast(t`The model “${made.model_id}” is not here; ${chosen()?.name ?? t`another`} is kept.`);
  }
  if (modelNamed(made.model_id ?? "")) applySteps(chosen().steps, settings.num_inference_steps ?? null);
  setSize(settings.width, settings.height);
  setLength(settings.num_frames, settings.fps);
  set("#guidance", settings.guidance_scale);
  set("#negative", made.negative_prompt ?? "");
  setSeed(settings.seed ?? null);
  setLoras(settings.loras);
  setScheduler(settings);
  setSecondPass(settings.upscale);
  const count = $(`#count input[value="${Number(settings.num_images) || 1}"]`);
  if (count) count.checked = true;
  fillPrompt(made.prompt ?? "", { focus: matchMedia("(pointer: fine)").matches }); // no on-screen keyboard
}

/** The input of a provider's model that made it, in the model's own words; without its files where they were uploaded. */
function inputOf({ remote, input, versions, effective }) {
  return remote?.requested ?? input ?? remote?.input ?? (versions?.provider ? effective : null);
}

async function useInput(modelId, input) {
  choose(modelId);
  const { fill } = await import("./model-form.js");
  const missing = fill(input);
  if (missing.length) toast(t`To be chosen again, since uploads are not kept: ${missing.join(", ")}.`);
  $("#prompt").focus();
}

function set(id, value) {
  if (value === null || value === undefined) return;
  const input = $(id);
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
