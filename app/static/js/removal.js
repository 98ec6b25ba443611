// Deletes images with undo: they are hidden at once, and deleted on the server when the toast disappears.

import { call } from "./api.js";
import { plural } from "./format.js";
import { toast } from "./notices.js";
import { Signal } from "./signal.js";

const UNDO_SECONDS = 7;

const pendingDeletes = new Set(); // ids of images that are hidden and still exist
export const removal = { changed: new Signal() }; // ("hidden" | "restored" | "deleted", ids)

export const isPendingDelete = (imageId) => pendingDeletes.has(imageId);

export function removePictures(items) {
  const ids = items.map((item) => item.image_id);
  for (const id of ids) pendingDeletes.add(id);
  removal.changed.emit("hidden", ids);
  const undo = {
    label: "Undo",
    run: () => {
      for (const id of ids) pendingDeletes.delete(id);
      removal.changed.emit("restored", ids);
    },
  };
  toast(`${plural(ids.length, "picture")} deleted`, { action: undo, stay: UNDO_SECONDS, dismissed: () => destroy(ids) });
}

async function destroy(ids, keepalive = false) {
  const results = await Promise.allSettled(ids.map((id) => call(`api/image/${id}`, { method: "DELETE", keepalive })));
  const isDeleted = (result) => result.status === "fulfilled" || [404, 410].includes(result.reason.status);
  const failed = ids.filter((_, index) => !isDeleted(results[index]));
  for (const id of ids) pendingDeletes.delete(id);
  removal.changed.emit("deleted", ids.filter((id) => !failed.includes(id)));
  if (!failed.length) return;
  removal.changed.emit("restored", failed);
  toast(`${plural(failed.length, "picture")} could not be deleted and is back.`, { kind: "error" });
}

/** Leaving the page ends the time to undo. */
addEventListener("pagehide", () => pendingDeletes.size && destroy([...pendingDeletes], true));
