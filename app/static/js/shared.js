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

/** A prompt that is there stays, unless the notice's button is pressed: any page can share something with this one. */
function useText(text) {
  if ($("#prompt").value.trim()) return toast(t`Text was shared with this page`, { action: { label: t`Use it`, run: () => fillPrompt(text) } });
  fillPrompt(text);
  return toast(t`What was shared is in the form`);
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
