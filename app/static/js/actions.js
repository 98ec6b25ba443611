// Actions on an image or a job: copy, download, reuse settings, variations, retry, cancel.

import * as api from "./api.js";
import { modelOf } from "./catalog.js";
import { el } from "./dom.js";
import { fieldsOf } from "./input-image.js";
import { jobs } from "./jobs.js";
import { toast } from "./notices.js";
import { send } from "./send.js";

const ROLES = { image: "image", mask: "mask", ref: "reference" }; // by the names of a job's inputs

const complain = (error) => toast(error.message, { kind: "error" });

export async function copy(text, what = "Prompt") {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyWithoutClipboardApi(text); // which plain http does not have
  }
  toast(`${what} copied`, { stay: 2.5 });
}

export function download(item) {
  const link = el("a", { href: `${item.url}?download=1`, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** The request that made `item`: from its own members when it is a job, else from the image's metadata. */
export async function recipe(item) {
  if (item.settings) return item;
  if (item.manifest) return item.manifest;
  if (item.metadata_url) return (await api.get(item.metadata_url)).manifest;
  return api.statusOf(item.job_id);
}

/** Whether the form can repeat it. It knows no upscalers, and not a provider's native input. */
export const canRepeat = ({ media, settings, remote, manifest, task = manifest?.task }) =>
  task !== "upscale" && !(remote?.native_input || manifest?.native_input) && (settings ? settings.num_inference_steps !== 0 : media !== "video");

/** Whether the form can be filled with what made it. */
export const canReuse = (item) => canRepeat(item) || Boolean(modelOf(item.model_id)?.schema_url && (item.remote?.requested ?? item.manifest?.input));

export async function reuse(item) {
  try {
    const { useSettings } = await import("./restore.js");
    useSettings(await recipe(item));
  } catch (error) {
    complain(error);
  }
}

/** Submits the same request with a random seed. */
export async function vary(item) {
  try {
    const { prompt, negative_prompt, model_id, settings, inputs } = await recipe(item);
    const used = Object.entries(inputs ?? {});
    if (used.some(([, { image_id: id }]) => !id)) {
      toast("A picture it started from is not in the gallery. Choose it again with “From a picture…”.", { kind: "error" });
      return;
    }
    const given = Object.entries(settings).filter(([, value]) => value !== null);
    const begun = fieldsOf(used.map(([slot, { image_id: source }]) => ({ role: ROLES[slot.split("-")[0]], source })));
    await send({ prompt, model_id, ...(negative_prompt ? { negative_prompt } : {}), ...begun, settings: { ...Object.fromEntries(given), seed: -1 } });
    location.hash = "#/";
  } catch (error) {
    complain(error);
  }
}

export const upscale = async (item) => (await import("./upscale.js")).upscale(item);

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
    toast("Back in line", { stay: 2.5 });
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
