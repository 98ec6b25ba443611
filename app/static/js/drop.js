// Dropped, pasted or chosen files: an image made by CyberImage restores its prompt and settings, any other is the input
// image.

import { $ } from "./dom.js";
import { canUseInputImage, mostImages, useInputFile } from "./input-image.js";
import { toast } from "./notices.js";
import { chosen } from "./picker.js";
import { t } from "./strings.js";

const overlay = $("#drop");
let depth = 0; // dragenter and dragleave fire for every element

export function startDrop() {
  addEventListener("dragenter", (event) => hasFile(event) && show(++depth));
  addEventListener("dragleave", (event) => hasFile(event) && show(--depth));
  addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    show((depth = 0));
    takeAll(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => event.clipboardData?.files.length && take(event.clipboardData.files[0]));
  $("#from-file").addEventListener("click", () => $("#file").click());
  $("#file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
}

/** Several files are input images, where the model supports several. */
async function takeAll(files) {
  if (files.length < 2 || mostImages(chosen()) < 2) return take(files[0]);
  for (const file of files) await start(file);
}

/** Restores the settings in `file` to the form, or uses it as the input image when it has none. */
export async function take(file) {
  if (!file) return;
  const [{ readRecipe }, { useSettings }] = await Promise.all([import("./png.js"), import("./restore.js")]);
  const made = await readRecipe(file).catch(() => null);
  if (!made) return start(file);
  $("dialog[open]")?.close();
  useSettings(made);
  const instead = canUseInputImage() ? { label: t`Start from it instead`, run: () => start(file) } : null;
  toast(t`Settings of “${file.name}” are in the form`, { action: instead });
}

export async function start(file) {
  if (!canUseInputImage()) {
    toast(t`“${file.name}” has no settings, and no model here can start from a picture.`, { kind: "error" });
    return;
  }
  try {
    await useInputFile(file);
    $("dialog[open]")?.close();
    location.hash = "#/";
  } catch {
    toast(t`“${file.name}” is not an image that this browser can read.`, { kind: "error" });
  }
}

const hasFile = (event) => event.dataTransfer?.types.includes("Files");

function show(now) {
  overlay.hidden = now <= 0;
}
