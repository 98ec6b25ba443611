// Actions on an image or a job: copy, download, reuse settings, variations, retry, cancel.

import * as api from "./api.js";
import { modelOf } from "./catalog.js";
import { el } from "./dom.js";
import { fieldsOf } from "./input-image.js";
import { jobs } from "./jobs.js";
import { toast } from "./notices.js";
import { send } from "./send.js";
import { t } from "./strings.js";

const complain = (error) => toast(error.message, { kind: "error" });

export async function copy(text, what = t`Prompt`) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyWithoutClipboardApi(text); // which plain http does not have
  }
  toast(t`${what} copied`, { stay: 3 });
}

export function download(item) {
  const link = el("a", { href: `${item.url}?download=1`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Whether the form can repeat it. It knows no upscalers, and not a provider's native input. */
export const canRepeat = ({ media, settings, remote, manifest, task = manifest?.task }) =>
  task !== "upscale" && !(remote?.native_input || manifest?.native_input) && (settings ? settings.num_inference_steps !== 0 : media !== "video");

/** Whether the form can be filled with what made it. */
export const canReuse = (item) => canRepeat(item) || Boolean(modelOf(item.model_id)?.schema_url && (item.remote?.requested ?? item.manifest?.input));

export async function reuse(item) {
  try {
    const [{ useSettings }, { recipe }] = await Promise.all([import("./restore.js"), import("./recipe.js")]);
    await useSettings(await recipe(item));
  } catch (error) {
    complain(error);
  }
}

/** Submits the same request with a random seed, and with the same pictures, mask included. */
export async function vary(item) {
  try {
    const { givenSettings, inputsOf, recipe } = await import("./recipe.js");
    const made = await recipe(item);
    const { images, part, others } = await inputsOf(made);
    const inputs = [
      ...images.map(({ source, extend }, at) => ({ role: at ? "reference" : "image", source, ...(extend ? { extend } : {}) })),
      ...(part ? [{ role: "mask", source: part.source }] : []),
      ...others.map(({ shown, name, ...input }) => input),
    ];
    const { width, height, ...settings } = givenSettings(made);
    const size = images[0]?.extend || !width ? {} : { width, height }; // an extension decides its size
    const negative = made.negative_prompt ? { negative_prompt: made.negative_prompt } : {};
    await send({ prompt: made.prompt, model_id: made.model_id, ...negative, ...fieldsOf(inputs), settings: { ...settings, ...size, seed: -1 } });
    location.hash = "#/";
  } catch (error) {
    complain(error);
  }
}

export const upscale = async (item, factor = 2) => (await import("./upscale.js")).upscale(item, factor);

/** The address of a picture in this gallery. */
export const linkTo = (item) => new URL(`#/gallery?picture=${item.image_id}`, location.href).href;

/** Copies the pixels; where the browser does not allow it, the link. */
export async function copyPicture(item) {
  try {
    const png = api.respond(item.url, { headers: { Accept: "image/*" }, seconds: 60 }).then((response) => response.blob());
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
    toast(t`Picture copied`, { stay: 2.5 });
  } catch {
    await copy(linkTo(item), t`This browser copies no pictures here. The link was`);
  }
}

export async function cancelJob(jobId) {
  try {
    jobs.update(jobId, await api.cancel(jobId));
  } catch (error) {
    complain(error);
  }
}

/** Requeues a failed or cancelled job and tracks it in this tab. */
export async function retryJob(jobId) {
  try {
    const job = await api.retry(jobId);
    if (jobs.get(jobId)) jobs.update(jobId, job);
    else jobs.add(job);
    toast(t`Back in line`, { stay: 2.5 });
    return job;
  } catch (error) {
    complain(error);
    return null;
  }
}

function copyWithoutClipboardApi(text) {
  const area = el("textarea", { class: "unseen", readonly: true });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
