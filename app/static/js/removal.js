// Deletes pictures: they go into the bin on the server at once, and one undo restores all that were deleted while its
// notice is shown.

import { act } from "./api.js";
import { plural } from "./format.js";
import { toast } from "./notices.js";
import { Signal } from "./signal.js";
import { t } from "./strings.js";

const UNDO_SECONDS = 10;
const AT_ONCE = 2000; // ids of one request

const hidden = new Set(); // ids that are in the bin, or on their way there
let shown = null; // {ids, deletions, end}: what the present notice undoes

export const removal = { changed: new Signal() }; // ("hidden" | "emptied" | "restored" | "deleted" | "purged", ids)

export const isPendingDelete = (imageId) => hidden.has(imageId);

/** Deletes these pictures of a list. */
export function removePictures(items) {
  const ids = items.map((item) => item.image_id);
  hide(ids);
  return remove(chunks(ids).map((part) => ({ ids: part })), ids, ids.length);
}

/** Deletes all that match the filter of `request`, of which `ids` are those on the page. */
export function removeAll(request, ids, count) {
  hide(ids);
  removal.changed.emit("emptied", ids);
  return remove([request], ids, count);
}

export function hide(ids) {
  for (const id of ids) hidden.add(id);
  removal.changed.emit("hidden", ids);
}

async function remove(requests, ids, count) {
  const group = join(ids, count);
  group.running = group.running.then(async () => {
    try {
      for (const request of requests) group.deletions.push((await act("delete", request)).deletion_id);
      removal.changed.emit("deleted", ids);
    } catch (error) {
      show(ids);
      toast(t`${plural(count, "picture")} could not be deleted. ${error.message}`, { kind: "error" });
    }
  });
  return group.running;
}

/** The group of the notice that is shown, with these added to it: a later deletion takes over the undo of the earlier. */
function join(ids, count) {
  const before = shown;
  const group = { ids: [...(before?.ids ?? []), ...ids], count: (before?.count ?? 0) + count, deletions: before?.deletions ?? [], running: before?.running ?? Promise.resolve() };
  shown = group;
  before?.end();
  const forget = () => shown === group && (shown = null);
  const action = { label: t`Undo`, run: () => (forget(), undo(group)) };
  group.end = toast(t`${plural(group.count, "picture")} deleted`, { action, stay: UNDO_SECONDS, dismissed: forget });
  return group;
}

async function undo(group) {
  await group.running;
  try {
    for (const deletion of group.deletions) await act("restore", { filter: { deletion } });
    show(group.ids);
  } catch (error) {
    toast(t`They are still in the bin. ${error.message}`, { kind: "error", action: { label: t`Try again`, run: () => undo(group) } });
  }
}

/** They are there again: after an undo, or restored from the bin. */
export function show(ids) {
  for (const id of ids) hidden.delete(id);
  removal.changed.emit("restored", ids);
}

function chunks(ids) {
  return Array.from({ length: Math.ceil(ids.length / AT_ONCE) }, (_, at) => ids.slice(at * AT_ONCE, (at + 1) * AT_ONCE));
}
