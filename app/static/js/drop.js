// Dropping, pasting or choosing one of our pictures brings its prompt and settings back; any other is one to start from.

import { $ } from "./dom.js";
import { toast } from "./notices.js";
import { useSettings } from "./restore.js";
import { canStart, startFromFile } from "./start.js";

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

/** Takes the settings out of `file` into the form, or the picture itself where it carries none. */
export async function take(file) {
  if (!file) return;
  const { readRecipe } = await import("./png.js");
  const made = await readRecipe(file).catch(() => null);
  if (!made) return start(file);
  $("dialog[open]")?.close();
  useSettings(made);
  const instead = canStart() ? { label: "Start from it instead", run: () => start(file) } : null;
  toast(`Settings of “${file.name}” are in the form`, { action: instead });
}

async function start(file) {
  if (!canStart()) {
    toast(`“${file.name}” carries no settings, and no model here can start from a picture.`, { kind: "error" });
    return;
  }
  try {
    await startFromFile(file);
    $("dialog[open]")?.close();
    location.hash = "#/";
  } catch {
    toast(`“${file.name}” is no picture that this browser can read.`, { kind: "error" });
  }
}

const hasFile = (event) => event.dataTransfer?.types.includes("Files");

function show(now) {
  veil.hidden = now <= 0;
}
