// Rows of the queue view: jobs, with the picture that they begin with or their preview, and batches whose jobs wait.

import { cancelJob } from "./actions.js";
import { pathTo } from "./base.js";
import { modelOf } from "./catalog.js";
import { $, button, el, say } from "./dom.js";
import { number, plural } from "./format.js";
import { isMeasured, remainingText, statusText } from "./job-text.js";
import { jobs } from "./jobs.js";
import { t, told } from "./strings.js";

/** A new row of a job; `patch` fills it. `after` is called when it was cancelled. */
export function jobRow(job, after) {
  const model = modelOf(job.model_id)?.name ?? job.model_id;
  const image = el("img", { class: "row-picture", alt: "", hidden: true });
  image.addEventListener("error", () => (image.hidden = true));
  return el(
    "li",
    { class: "row", data: { id: job.job_id } },
    check(job.prompt),
    el("span", { class: "place" }),
    image,
    el(
      "div",
      { class: "row-words" },
      el("p", { class: "row-prompt", dir: "auto" }, job.prompt),
      el("p", { class: "facts" }, el("span", {}, model), el("span", { class: "status-text" }), el("span", { class: "remaining" }), el("span", { class: "reason" })),
      el("progress", { max: 100, "aria-label": t`Progress` }),
    ),
    button(t`Cancel`, "close", () => cancelJob(job.job_id).then(after), { class: "quiet cancel", "aria-label": t`Cancel: ${job.prompt.slice(0, 80)}` }),
  );
}

export const check = (words) => el("input", { type: "checkbox", class: "row-check", "aria-label": t`Select: ${words.slice(0, 80)}` });

/** `held` are the models in memory, `waiting` all jobs that wait. */
export function patch(row, job, held, waiting) {
  const running = job.status === "PROCESSING";
  row.dataset.status = job.status;
  say($(".place", row), running ? "" : String(job.position ?? ""));
  say($(".status-text", row), statusText(job));
  say($(".remaining", row), remainingText(job));
  say($(".reason", row), running ? (job.batch_id ? t`of a batch` : "") : reason(job, held, waiting));
  showPicture($(".row-picture", row), job);
  const bar = $("progress", row);
  bar.hidden = !running;
  if (isMeasured(job)) bar.value = job.progress.percent;
  else bar.removeAttribute("value");
  $(".cancel", row).disabled = Boolean(job.cancel_requested);
}

function showPicture(image, job) {
  const source = jobs.get(job.job_id)?.preview ?? inputOf(job);
  if (!source || image.getAttribute("src") === source) return;
  image.src = source;
  image.hidden = false;
}

/** The picture that a job begins with, or another one that it was given; null when there is none. */
export function inputOf({ job_id: id, inputs = {} }) {
  const slot = ["image", ...Object.keys(inputs)].find((name) => inputs[name] && name !== "mask");
  if (!slot) return null;
  const picture = inputs[slot].image_id;
  return pathTo(picture ? `api/image/${picture}/thumbnail` : `api/jobs/${id}/inputs/${slot}`);
}

/** The row that stands for all waiting jobs of a batch; `summary` is null while it is not known. */
export function batchRow(id, after) {
  return el(
    "li",
    { class: "row", data: { waits: id } },
    check(t`batch`),
    el("span", { class: "place" }),
    el("div", { class: "row-words" }, el("a", { class: "row-prompt", dir: "auto", href: `#/queue/${id}` }), el("p", { class: "facts" }, el("span", { class: "of-batch" }), el("span", { class: "remaining" })), el("progress", { max: 100, "aria-label": t`Progress of the batch` })),
    button(t`Cancel`, "close", after, { class: "quiet cancel" }),
  );
}

export function patchBatch(row, members, summary) {
  const name = summary?.name ?? members[0].prompt;
  const waiting = Math.max(summary?.counts.PENDING ?? 0, members.length);
  say($(".place", row), String(members[0].position ?? ""));
  say($(".row-prompt", row), name);
  say($(".of-batch", row), t`Batch: ${plural(waiting, "job")} waiting${summary ? t` of ${number(summary.jobs)}` : ""}`);
  say($(".remaining", row), remainingText(members.at(-1)));
  $(".row-check", row).setAttribute("aria-label", t`Select the batch: ${name.slice(0, 80)}`);
  $(".cancel", row).setAttribute("aria-label", t`Cancel the batch: ${name.slice(0, 80)}`);
  const bar = $("progress", row);
  bar.hidden = !summary;
  bar.value = summary?.percent ?? 0;
}

/** Why a waiting job is at its position, as far as the queue's data shows. */
function reason(job, held, waiting) {
  if (job.error) return t`tried ${plural(job.attempt, "time")}: ${told(job.error.code, job.error.message)}`;
  const parts = [];
  if (job.priority) parts.push(t`priority ${job.priority > 0 ? "+" : ""}${job.priority}`);
  const older = waiting.some((other) => other.created_at < job.created_at && other.position > job.position && other.priority === job.priority);
  if (older) parts.push(t`its owner’s turn`);
  else if (job.position === 1 && !job.priority) parts.push(t`waits longest`);
  if (held.has(job.model_id)) parts.push(t`model in memory`);
  return parts.join(", ");
}
