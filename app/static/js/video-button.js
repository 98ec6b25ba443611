// The “Make a video” button, shown where a local or remote model can make a video of an image. The dialog is imported on
// first use.

import { get } from "./api.js";
import { catalog } from "./catalog.js";
import { button } from "./dom.js";
import { style } from "./router.js";
import { t } from "./strings.js";

let asked = null;

/** The models that make a video of an image, local ones that fit this machine first. */
export async function videoModels() {
  const local = catalog.models.filter(({ lane, tasks, fits }) => lane === "local" && tasks.includes("img2video") && fits.answer !== "no");
  return [...local, ...(await remoteModels())];
}

/** The provider's models that take a first frame. Empty without a provider, or while offline. */
function remoteModels() {
  asked ??= get("api/video-models").then(
    ({ models, refreshed_at: fresh }) => {
      if (models.length && !fresh) asked = null; // the provider could not be reached
      return models.filter((model) => model.first_frame);
    },
    () => {
      asked = null;
      return [];
    },
  );
  return asked;
}

/** A button that is visible when there is such a model. `leave` is awaited after a video of `item` was accepted. */
export function videoButton(item, leave = () => {}, label = t`Make a video`) {
  const node = button(label, "film", () => openVideoDialog(item, leave), { hidden: true });
  videoModels().then((models) => (node.hidden = !models.length));
  return node;
}

export async function openVideoDialog(item, leave) {
  const [dialog, models] = await Promise.all([import("./video-dialog.js"), videoModels(), style("video-dialog")]);
  dialog.open(item, models, leave);
}
