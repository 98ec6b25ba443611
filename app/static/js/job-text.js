// Status, remaining time and facts of a job as text.

import { bytes, ordinal, roughly, seconds } from "./format.js";
import { statusPoll } from "./status-poll.js";
import { t } from "./strings.js";

const PHASE_LABELS = {
  starting: t`Starting`,
  downloading_model: t`Downloading the model`,
  loading_model: t`Loading the model`,
  encoding_prompt: t`Reading the prompt`,
  decoding: t`Developing`,
  saving: t`Saving`,
  done: t`Done`,
};

export const STATUS_LABELS = {
  PENDING: t`Waiting`,
  PROCESSING: t`Running`,
  COMPLETED: t`Finished`,
  FAILED: t`Failed`,
  CANCELLED: t`Cancelled`,
};

/** "Step 12 of 28", "3rd in line", "Waits for a worker that has the LoRA style", "Loading the model". */
export function statusText(job) {
  if (job.status === "PENDING") {
    if (job.error) return t`Will be tried again`;
    if (job.waits_for) return t`Waits for ${job.waits_for}`; // no live worker can run it
    return job.position > 1 ? t`${ordinal(job.position)} in line` : t`Next in line`;
  }
  if (job.status !== "PROCESSING") return STATUS_LABELS[job.status];
  if (job.cancel_requested) return t`Stopping at the next step`;
  const { phase, step, total_steps: total } = job.progress;
  if (phase === "generating") return total ? t`Step ${step} of ${total}` : t`Generating`;
  const { downloaded_bytes: here, total_bytes: size } = job.progress;
  if (phase === "downloading_model" && size) return t`${PHASE_LABELS[phase]}, ${bytes(here)} of ${bytes(size)}`;
  return PHASE_LABELS[phase] ?? t`Working`;
}

export function remainingText(job) {
  if (statusPoll.last === null) return t`no connection to the server`; // what is known of it is old
  const workers = statusPoll.last?.checks?.workers ?? "ok";
  if (!job.eta_at || job.cancel_requested || workers !== "ok") return ""; // without a worker nothing is estimated
  const left = (job.eta_at - Date.now()) / 1000;
  return left > 0.9 ? t`about ${roughly(left)}` : job.status === "PROCESSING" ? t`any moment` : "";
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
    settings.num_inference_steps ? t`${settings.num_inference_steps} steps` : null,
    (settings.seed ?? -1) >= 0 ? t`seed ${settings.seed}` : null,
    took !== null ? seconds(took) : null,
  ].filter(Boolean);
}
