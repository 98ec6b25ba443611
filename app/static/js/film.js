// “Make a video”: from a picture, by a model here or one of the provider's that takes a first frame. The dialog is fetched
// when it is first asked for.

import { get } from "./api.js";
import { catalog } from "./catalog.js";
import { button } from "./dom.js";
import { style } from "./router.js";

let asked = null;

/** The models that make a video from a picture, those of this machine first. */
export async function filmModels() {
  const here = catalog.models.filter(({ lane, tasks }) => lane === "local" && tasks.includes("img2video"));
  return [...here, ...(await remoteModels())];
}

/** None without a provider, or while nobody answers. */
function remoteModels() {
  asked ??= get("api/video-models").then(
    ({ models, refreshed_at: fresh }) => {
      if (models.length && !fresh) asked = null; // the provider was away
      return models.filter((model) => model.first_frame);
    },
    () => {
      asked = null;
      return [];
    },
  );
  return asked;
}

/** A button that shows itself where there is such a model. `leave` is awaited when a video of `item` was accepted. */
export function filmButton(item, leave = () => {}, label = "Make a video") {
  const node = button(label, "film", () => open(item, leave), { hidden: true });
  filmModels().then((models) => (node.hidden = !models.length));
  return node;
}

async function open(item, leave) {
  const [dialog, models] = await Promise.all([import("./film-dialog.js"), filmModels(), style("film")]);
  dialog.open(item, models, leave);
}
