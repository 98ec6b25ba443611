// The panel of the selected job: progress, result or error. Rebuilt when its status changes, patched otherwise.

import * as actions from "./actions.js";
import { autoplayVideo } from "./autoplay.js";
import { modelOf } from "./catalog.js";
import { $, button, el, icon, say, setVars } from "./dom.js";
import { fillPrompt, someExamples } from "./examples.js";
import { canUseInputImage, useInputImage } from "./input-image.js";
import { isMeasured, jobFacts, remainingText, statusText } from "./job-text.js";
import { openLightbox } from "./open-lightbox.js";
import { isPendingDelete, removePictures } from "./removal.js";
import { videoButton } from "./video-button.js";

const root = $("#job-panel");
let built = null; // the key that the current elements were built for

export const picturesOf = (job) =>
  (job.images ?? [])
    .filter((image) => !isPendingDelete(image.image_id))
    .map((image) => ({ ...image, job_id: job.job_id, prompt: job.prompt, model_id: job.model_id, status: job.status }));

export function showJobPanel(job) {
  const wanted = job ? [job.job_id, job.status, picturesOf(job).map((one) => one.image_id)].join() : `empty ${someExamples(3)}`;
  if (wanted !== built) {
    built = wanted;
    const hadFocus = root.contains(document.activeElement);
    root.replaceChildren(job ? build(job) : empty());
    if (hadFocus) root.querySelector("button, a")?.focus({ preventScroll: true });
  }
  if (job) patch(job);
}

function empty() {
  const example = (text) => el("li", {}, el("button", { type: "button", class: "example", onclick: () => fillPrompt(text) }, text));
  const examples = someExamples(3);
  return el(
    "div",
    { class: "job-panel empty" },
    el("span", { class: "noise", "aria-hidden": "true" }),
    el("h2", {}, "What do you want to see?"),
    el("p", {}, examples.length ? "Describe it, or start with one of these." : "Describe it and press Generate. It appears here."),
    examples.length > 0 && el("ul", { class: "examples", role: "list" }, examples.map(example)),
  );
}

function build(job) {
  const body = { COMPLETED: finished, FAILED: failed, CANCELLED: failed }[job.status] ?? working;
  return el("article", { class: "job-panel", data: { status: job.status }, "aria-label": job.prompt }, ...body(job));
}

function frame(job, ...inside) {
  const count = Math.max(1, picturesOf(job).length || job.settings?.num_images || 1);
  const columns = Math.ceil(Math.sqrt(count));
  const [width, height] = sizeOf(job);
  const vars = { "--columns": columns, "--w": width * columns, "--h": height * Math.ceil(count / columns) };
  return el("div", { class: "mat" }, el("div", { class: "frame", vars }, ...inside));
}

/** The size of the job's images, or the expected one; a guess where the model decides. */
function sizeOf(job) {
  const { width, height } = job.images?.[0] ?? job.settings ?? {};
  const usual = modelOf(job.model_id)?.defaults ?? {};
  return width && height ? [width, height] : [usual.width ?? 512, usual.height ?? 512];
}

function working(job) {
  return [
    frame(job, el("span", { class: "noise", "aria-hidden": "true" }), el("img", { class: "preview", alt: "", hidden: true })),
    el(
      "div",
      { class: "caption" },
      el("div", { class: "progress-line" }, el("strong", { class: "status-text" }), el("span", { class: "remaining" }), cancelButton(job)),
      el("progress", { max: 100, "aria-label": "Progress" }),
      el("p", { class: "job-panel-prompt" }, job.prompt),
    ),
  ];
}

function cancelButton(job) {
  return button("Cancel", "close", () => actions.cancelJob(job.job_id), { class: "quiet cancel" });
}

function finished(job) {
  const pictures = picturesOf(job);
  const show = (picture, index) => {
    return el("button", { type: "button", class: "picture", "aria-label": `Look closer: ${picture.prompt}`, onclick: () => openLightbox(pictures, index) }, medium(picture));
  };
  return [
    frame(job, el("span", { class: "noise", "aria-hidden": "true" }), ...pictures.map(show)),
    el(
      "div",
      { class: "caption" },
      el("p", { class: "job-panel-prompt" }, job.prompt),
      el("p", { class: "facts" }, jobFacts(job, modelOf(job.model_id)?.name ?? job.model_id).map((fact) => el("span", {}, fact))),
      el(
        "div",
        { class: "actions" },
        actions.canRepeat(job) && button("Variations", "vary", () => actions.vary(job)),
        actions.canReuse(job) && button("Use these settings", "reuse", () => actions.reuse(job)),
        canUseInputImage() && pictures[0]?.media === "image" && button("Start from this", "start", () => useInputImage(pictures[0])),
        pictures.length === 1 && pictures[0].media === "image" && button("Upscale 2×", "upscale", () => actions.upscale(pictures[0])),
        pictures[0]?.media === "image" && videoButton(pictures[0]),
        button("Copy prompt", "copy", () => actions.copy(job.prompt)),
        button("Download", "download", () => pictures.forEach(actions.download)),
        button("Delete", "trash", () => removePictures(pictures), { class: "quiet danger" }),
      ),
    ),
  ];
}

function medium(picture) {
  if (picture.media === "video") return autoplayVideo(picture, { poster: picture.thumbnail_url });
  const image = el("img", { src: picture.url, alt: picture.prompt, width: picture.width, height: picture.height });
  image.addEventListener("load", () => image.classList.add("there"), { once: true });
  return image;
}

function failed(job) {
  const cancelled = job.status === "CANCELLED";
  return [
    el(
      "div",
      { class: "failure" },
      icon(cancelled ? "close" : "alert"),
      el("h2", {}, cancelled ? "Cancelled" : "This job failed"),
      el("p", { class: "sentence" }, cancelled ? "The job was cancelled. Retry puts it back in the queue." : (job.error?.message ?? "The server gave no reason; see its errors.log.")),
      el(
        "div",
        { class: "actions" },
        button("Retry", "retry", () => actions.retryJob(job.job_id), { class: "quiet strong" }),
        actions.canReuse(job) && button("Use these settings", "reuse", () => actions.reuse(job)),
      ),
    ),
    el("div", { class: "caption" }, el("p", { class: "job-panel-prompt" }, job.prompt), el("p", { class: "facts" }, jobFacts(job, job.model_id).map((fact) => el("span", {}, fact)))),
  ];
}

function patch(job) {
  const bar = $("progress", root);
  if (!bar) return;
  if (isMeasured(job)) bar.value = job.progress.percent;
  else if (job.status === "PROCESSING") bar.removeAttribute("value");
  else bar.value = 0;
  say($(".status-text", root), statusText(job));
  say($(".remaining", root), remainingText(job));
  $(".cancel", root).disabled = Boolean(job.cancel_requested);
  const progress = isMeasured(job) ? job.progress.percent / 100 : 0;
  setVars($(".frame", root), { "--progress": progress });
  $(".job-panel", root).dataset.running = String(job.status === "PROCESSING");
  const preview = $(".preview", root);
  preview.hidden = !job.preview;
  if (job.preview && preview.src !== job.preview) preview.src = job.preview;
}
