// Loading, downloading and removing models, as an administrator's orders to the workers.

import { Offline, call } from "./api.js";
import { bytes } from "./format.js";
import { announce, toast } from "./notices.js";
import { Signal } from "./signal.js";
import { t } from "./strings.js";

const WAIT_SECONDS = 10; // of one call, which waits in a thread of the server
const PAUSE_MILLISECONDS = 1500; // while the server does not answer
const calledOff = new Set();
const under = new Set(); // ids of models that were ordered here

export const loading = { changed: new Signal(), has: (id) => under.has(id), ids: () => [...under] };

/** Downloads the model if need be and loads it. The call is repeated until it ends: it joins the load that is under way. */
export async function load(model) {
  if (under.has(model.id)) return;
  under.add(model.id);
  calledOff.delete(model.id);
  loading.changed.emit();
  try {
    while (!calledOff.has(model.id)) {
      const { status } = await order("load", model.id).catch(wait);
      if (status === "loading") continue;
      announce(t`${model.name} is loaded.`);
      break;
    }
  } catch (error) {
    if (error.code !== "load_called_off") toast(`${model.name}: ${error.message}`, { kind: "error", stay: 12 });
  } finally {
    under.delete(model.id);
    loading.changed.emit();
  }
}

const order = (verb, id) => call(`api/v1/models/${verb}`, { method: "POST", body: { model_id: id, timeout: WAIT_SECONDS }, seconds: WAIT_SECONDS + 20 });

async function wait(error) {
  if (!(error instanceof Offline)) throw error;
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
  return { status: "loading" };
}

export async function unload(model) {
  try {
    const { status } = await order("unload", model.id);
    announce(status === "unloading" ? t`${model.name} is unloaded when its running job has ended.` : t`${model.name} is not in memory any more.`);
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
  loading.changed.emit();
}

/** Stops a download or a load; what was downloaded stays, and the next one goes on from there. */
export async function cancelLoad(model) {
  calledOff.add(model.id);
  await unload(model);
}

export async function removeFiles(model) {
  const question = t`Delete the files of ${model.name}?`;
  const explanation = t`${bytes(model.bytes)} are freed. To draw with it they have to be downloaded again. Pictures stay.`;
  const { confirm } = await import("./confirm.js");
  if (!(await confirm({ question, explanation, label: t`Delete the files` }))) return;
  try {
    const { freed_bytes: freed } = await call(`api/models/${model.id}/files`, { method: "DELETE", seconds: 120 });
    toast(t`${bytes(freed)} are free again`, { stay: 4 });
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
  loading.changed.emit();
}
