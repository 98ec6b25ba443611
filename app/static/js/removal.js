// Deletes pictures, with a way back: they disappear at once, and are deleted for good when the notice goes.

import { call } from "./api.js";
import { plural } from "./format.js";
import { toast } from "./notices.js";
import { Signal } from "./signal.js";

const UNDO_SECONDS = 7;

const doomed = new Set(); // ids of pictures that disappeared and still exist
export const removal = { changed: new Signal() }; // ("hidden" | "back" | "gone", ids)

export const isDoomed = (imageId) => doomed.has(imageId);

export function removePictures(items) {
  const ids = items.map((item) => item.image_id);
  for (const id of ids) doomed.add(id);
  removal.changed.emit("hidden", ids);
  const undo = {
    label: "Undo",
    run: () => {
      for (const id of ids) doomed.delete(id);
      removal.changed.emit("back", ids);
    },
  };
  toast(`${plural(ids.length, "picture")} deleted`, { action: undo, stay: UNDO_SECONDS, gone: () => destroy(ids) });
}

async function destroy(ids, keepalive = false) {
  const results = await Promise.allSettled(ids.map((id) => call(`api/image/${id}`, { method: "DELETE", keepalive })));
  const isGone = (result) => result.status === "fulfilled" || [404, 410].includes(result.reason.status);
  const failed = ids.filter((_, index) => !isGone(results[index]));
  for (const id of ids) doomed.delete(id);
  removal.changed.emit("gone", ids.filter((id) => !failed.includes(id)));
  if (!failed.length) return;
  removal.changed.emit("back", failed);
  toast(`${plural(failed.length, "picture")} could not be deleted and is back.`, { kind: "error" });
}

/** Whoever leaves the page has stopped thinking about it. */
addEventListener("pagehide", () => doomed.size && destroy([...doomed], true));
