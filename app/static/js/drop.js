// Dropping, pasting or choosing one of our pictures brings its prompt and settings back.

import { $ } from "./dom.js";
import { toast } from "./notices.js";
import { useSettings } from "./restore.js";

const veil = $("#drop");
let depth = 0; // dragenter and dragleave come for every element on the way

export function startDrop() {
  addEventListener("dragenter", (event) => hasFile(event) && show(++depth));
  addEventListener("dragleave", (event) => hasFile(event) && show(--depth));
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    show((depth = 0));
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => event.clipboardData?.files.length && take(event.clipboardData.files[0]));
  $("#from-file").addEventListener("click", () => $("#file").click());
  $("#file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
}

/** Takes the settings out of `file` into the form. */
export async function take(file) {
  if (!file) return;
  const { readRecipe } = await import("./png.js");
  const made = await readRecipe(file).catch(() => null);
  if (!made) {
    toast(`“${file.name}” carries no settings. Pictures that CyberImage made do, as long as nothing rewrote the file.`, { kind: "error" });
    return;
  }
  $("dialog[open]")?.close();
  useSettings(made);
  toast(`Settings of “${file.name}” are in the form`);
}

const hasFile = (event) => event.dataTransfer?.types.includes("Files");

function show(now) {
  veil.hidden = now <= 0;
}
