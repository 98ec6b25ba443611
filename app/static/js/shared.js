// What another program shared with the installed page: a picture to start from, or words of a prompt. The service worker hands
// it over, once.

import { $ } from "./dom.js";
import { take } from "./drop.js";
import { fillPrompt } from "./examples.js";
import { restored } from "./form-state.js";
import { toast } from "./notices.js";
import { t } from "./strings.js";

const PATIENCE_MILLISECONDS = 5000;

export async function takeShared() {
  history.replaceState(history.state, "", "#/"); // a reload would ask again
  const found = await ask();
  if (!found?.text && !found?.files.length) return toast(t`What was shared did not arrive. Share it again.`, { kind: "error" });
  await restored; // which fills the form, too
  if (found.text) useText(found.text);
  for (const file of found.files) await take(file);
}

/** In place of the prompt that was there, which comes back by the notice's button. */
function useText(text) {
  const before = $("#prompt").value;
  fillPrompt(text);
  toast(t`What was shared is in the form`, { action: before ? { label: t`Undo`, run: () => fillPrompt(before) } : null });
}

function ask() {
  const { controller } = navigator.serviceWorker;
  if (!controller) return null;
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
    setTimeout(resolve, PATIENCE_MILLISECONDS, null);
    controller.postMessage("shared", [port2]);
  });
}
