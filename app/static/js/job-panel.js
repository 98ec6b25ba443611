// The panel of the selected job: progress, result or error. Rebuilt when its status changes, patched otherwise.

import * as actions from "./actions.js";
import { modelOf } from "./catalog.js";
import { $, button, el, icon, say, setVars } from "./dom.js";
import { fillPrompt, someExamples } from "./examples.js";
import { heart, toggleFavorite } from "./favorites.js";
import { isMeasured, jobFacts, remainingText, statusText } from "./job-text.js";
import { openLightbox } from "./open-lightbox.js";
import { openWorkMenu, repaintButton } from "./open-work-menu.js";
import { isPendingDelete, removePictures } from "./removal.js";
import { t, told } from "./strings.js";

const root = $("#job-panel");
let built = null; // the key that the current elements were built for

export const picturesOf = (job) =>
  (job.images ?? [])
    .filter((image) => !isPendingDelete(image.image_id))
    .map((image) => ({ ...image, job_id: job.job_id, prompt: job.prompt, model_id: job.model_id, status: job.status, inputs: job.inputs }));

export function showJobPanel(job) {
  const wanted = job ? [job.job_id, job.status, picturesOf(job).map((one) => one.image_id)].join() : `empty ${isSignedOut()} ${someExamples(3)}`;
  if (wanted !== built) {
    built = wanted;
    const hadFocus = root.contains(document.activeElement);
    root.replaceChildren(job ? build(job) : empty());
    if (hadFocus) root.querySelector("button, a")?.focus({ preventScroll: true });
  }
  if (job) patch(job);
}

const isSignedOut = () => document.documentElement.dataset.signed === "out";

function signedOut() {
  return el(
    "div",
    { class: "job-panel empty" },
    el("span", { class: "noise", "aria-hidden": "true" }),
    el("h2", {}, t`Sign in to make pictures`),
    el("p", {}, t`This server asks who you are. Your pictures are seen by you alone.`),
    button(t`Sign in`, "enter", () => $("#account").click(), { class: "quiet strong" }),
  );
}

function empty() {
  if (isSignedOut()) return signedOut();
  const example = (text) => el("li", {}, el("button", { type: "button", class: "example", dir: "auto", onclick: () => fillPrompt(text) }, text));
  const examples = someExamples(3);
  return el(
    "div",
    { class: "job-panel empty" },
    el("span", { class: "noise", "aria-hidden": "true" }),
    el("h2", {}, t`What do you want to see?`),
    el("p", {}, examples.length ? t`Describe it, or start with one of these.` : t`Describe it and press Generate. It appears here.`),
    examples.length > 0 && el("ul", { class: "examples" }, examples.map(example)),
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
    frame(job, el("span", { class: "noise", "aria-hidden": "true" }), el("img", { class: "preview", src: "data:,", alt: "", hidden: true })),
    el(
      "div",
      { class: "caption" },
      el("div", { class: "progress-line" }, el("strong", { class: "status-text" }), el("span", { class: "remaining" }), cancelButton(job)),
      el("progress", { max: 100, "aria-label": t`Progress` }),
      el("p", { class: "job-panel-prompt", dir: "auto" }, job.prompt),
    ),
  ];
}

function cancelButton(job) {
  return button(t`Cancel`, "close", () => actions.cancelJob(job.job_id), { class: "quiet cancel" });
}

function finished(job) {
  const pictures = picturesOf(job);
  return [
    frame(job, el("span", { class: "noise", "aria-hidden": "true" }), ...pictures.map((picture, index) => cell(pictures, picture, index))),
    el(
      "div",
      { class: "caption" },
      el("p", { class: "job-panel-prompt", dir: "auto" }, job.prompt),
      el("p", { class: "facts" }, jobFacts(job, modelOf(job.model_id)?.name ?? job.model_id).map((fact) => el("span", {}, fact))),
      el("div", { class: "actions" }, pictures.length > 1 ? actionsOfAll(job, pictures) : actionsOfOne(job, pictures[0])),
    ),
  ];
}

/** A picture of the job; each of several has its own actions. */
function cell(pictures, picture, index) {
  const several = pictures.length > 1;
  const label = t`Look closer: ${picture.prompt}`;
  const look = el("button", { type: "button", class: "picture", "aria-label": several ? t`${label}, picture ${index + 1}` : label, onclick: () => openLightbox(pictures, index) }, medium(picture));
  look.addEventListener("keydown", (event) => event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey && toggleFavorite(picture));
  if (!several) return el("div", { class: "cell" }, look);
  const name = (words) => ({ class: "round small", "aria-label": t`${words}: picture ${index + 1}`, title: words });
  const more = button(null, "more", () => openWorkMenu(more, picture), { ...name(t`What can be done with it`), "aria-haspopup": "menu" });
  const bar = el(
    "div",
    { class: "cell-actions" },
    heart(picture, { "aria-label": t`Favourite: picture ${index + 1}` }),
    button(null, "download", () => actions.download(picture), name(t`Download`)),
    button(null, "trash", () => removePictures([picture]), name(t`Delete`)),
    more,
  );
  return el("div", { class: "cell" }, look, bar);
}

const variations = (job) => actions.canRepeat(job) && button(t`Variations`, "vary", () => actions.vary(job), { class: "quiet strong" });
const settings = (job) => actions.canReuse(job) && button(t`Use these settings`, "reuse", () => actions.reuse(job));

function actionsOfOne(job, picture) {
  const item = { ...job, ...picture };
  const more = button(t`More`, "more", () => openWorkMenu(more, item), { "aria-haspopup": "menu" });
  return [
    variations(job),
    picture.media === "image" && repaintButton(item),
    settings(job),
    button(t`Download`, "download", () => actions.download(picture)),
    more,
    heart(picture, { class: "quiet heart" }),
    button(t`Delete`, "trash", () => removePictures([picture]), { class: "quiet danger" }),
  ];
}

function actionsOfAll(job, pictures) {
  return [
    variations(job),
    settings(job),
    button(t`Download all`, "download", () => pictures.forEach(actions.download)),
    button(t`Delete all`, "trash", () => removePictures(pictures), { class: "quiet danger" }),
  ];
}

function medium(picture) {
  if (picture.media === "video") return film(picture);
  const image = el("img", { src: picture.url, alt: picture.prompt, width: picture.width, height: picture.height });
  image.addEventListener("load", () => image.classList.add("there"), { once: true });
  return image;
}

function film(picture) {
  const video = el("video", { poster: picture.thumbnail_url, "aria-label": picture.prompt });
  import("./autoplay.js").then(({ playIn }) => playIn(video, picture));
  return video;
}

function failed(job) {
  const cancelled = job.status === "CANCELLED";
  return [
    el(
      "div",
      { class: "failure" },
      icon(cancelled ? "close" : "alert"),
      el("h2", {}, cancelled ? t`Cancelled` : t`This job failed`),
      el("p", { class: "sentence" }, cancelled ? t`The job was cancelled. Retry puts it back in the queue.` : job.error ? told(job.error.code, job.error.message) : t`The server gave no reason; see its errors.log.`),
      el(
        "div",
        { class: "actions" },
        button(t`Retry`, "retry", () => actions.retryJob(job.job_id), { class: "quiet strong" }),
        actions.canReuse(job) && button(t`Use these settings`, "reuse", () => actions.reuse(job)),
      ),
    ),
    el("div", { class: "caption" }, el("p", { class: "job-panel-prompt", dir: "auto" }, job.prompt), el("p", { class: "facts" }, jobFacts(job, job.model_id).map((fact) => el("span", {}, fact)))),
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
