// The bin: restoring pictures, and removing them for good.

import { act } from "./api.js";
import { confirm } from "./confirm.js";
import { plural } from "./format.js";
import { toast } from "./notices.js";
import { removal, show } from "./removal.js";
import { t } from "./strings.js";

/** Restores `items`, or all that match `filter`. */
export const restore = (items, filter = null, count = items.length) => run("restore", items, filter, count, t`restored`);

/** Removes them for good, after a question. */
export async function purge(items, filter = null, count = items.length) {
  const question = t`Delete ${plural(count, "picture")} for good?`;
  if (!(await confirm({ question, explanation: t`Their files are removed at once. This cannot be undone.`, label: t`Delete for good` }))) return false;
  return run("purge", items, filter, count, t`deleted for good`);
}

async function run(action, items, filter, count, done) {
  const ids = items.map((item) => item.image_id);
  try {
    const { changed } = await act(action, filter ? { filter } : { ids });
    if (action === "restore") show(ids);
    else removal.changed.emit("purged", ids);
    toast(`${plural(changed, "picture")} ${done}`, { stay: 4 });
    return true;
  } catch (error) {
    toast(error.message, { kind: "error" });
    return false;
  }
}
