// Status, remaining time and facts of a job as text.

import { bytes, ordinal, seconds } from "./format.js";
import { statusPoll } from "./status-poll.js";

const PHASE_LABELS = {
  starting: "Starting",
  downloading_model: "Downloading the model",
  loading_model: "Loading the model",
  encoding_prompt: "Reading the prompt",
  decoding: "Developing",
  saving: "Saving",
  done: "Done",
};

export const STATUS_LABELS = {
  PENDING: "Waiting",
  PROCESSING: "Running",
  COMPLETED: "Finished",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
};

/** "Step 12 of 28", "3rd in line", "Loading the model". */
export function statusText(job) {
  if (job.status === "PENDING") {
    if (job.error) return "Will be tried again";
    return job.position > 1 ? `${ordinal(job.position)} in line` : "Next in line";
  }
  if (job.status !== "PROCESSING") return STATUS_LABELS[job.status];
  if (job.cancel_requested) return "Stopping at the next step";
  const { phase, step, total_steps: total } = job.progress;
  if (phase === "generating") return total ? `Step ${step} of ${total}` : "Generating";
  const { downloaded_bytes: here, total_bytes: size } = job.progress;
  if (phase === "downloading_model" && size) return `${PHASE_LABELS[phase]}, ${bytes(here)} of ${bytes(size)}`;
  return PHASE_LABELS[phase] ?? "Working";
}

export function remainingText(job) {
  if (statusPoll.last === null) return "no connection to the server"; // what is known of it is old
  const workers = statusPoll.last?.checks?.workers ?? "ok";
  if (!job.eta_at || job.cancel_requested || workers !== "ok") return ""; // without a worker nothing is estimated
  const left = (job.eta_at - Date.now()) / 1000;
  return left > 0.9 ? `about ${seconds(Math.max(1, Math.round(left))).replace(".0", "")}` : job.status === "PROCESSING" ? "any moment" : "";
}

/** Whether the job's progress is a percentage; otherwise it is indeterminate. */
export const isMeasured = (job) => job.status === "PROCESSING" && job.progress.percent > 0;

export function jobFacts(job, modelName) {
  const { settings = {} } = job;
  const image = job.images?.[0];
  const took = job.started_at && job.completed_at ? (Date.parse(job.completed_at) - Date.parse(job.started_at)) / 1000 : null;
  return [
    modelName,
    image ? `${image.width} × ${image.height}` : settings.width ? `${settings.width} × ${settings.height}` : null,
    settings.num_inference_steps ? `${settings.num_inference_steps} steps` : null,
    (settings.seed ?? -1) >= 0 ? `seed ${settings.seed}` : null,
    took !== null ? seconds(took) : null,
  ].filter(Boolean);
}
