// Submits a request, retrying while the server restarts; the idempotency key prevents duplicate jobs.

import { Offline, post } from "./api.js";
import { ordinal } from "./format.js";
import { jobs } from "./jobs.js";
import { announce, toast } from "./notices.js";
import { statusPoll } from "./status-poll.js";
import { t } from "./strings.js";

const WAITS = [700, 1500, 3000, 5000, 8000, 12_000]; // milliseconds between retries while offline

/**
 * Returns the job. Throws ApiError, or Offline after half a minute of retries; `waiting` is called before each retry.
 * `job` is the job's description when `request` is a provider's native input; `accepted` is awaited before it is shown.
 */
export async function send(request, { to = "api/generate", job: known = request, key = newKey(), waiting = () => {}, accepted = () => {} } = {}) {
  const answer = await retryWhileOffline(() => post(to, request, { "Idempotency-Key": key }), waiting);
  await accepted();
  const job = {
    ...known,
    job_id: answer.job_id,
    status: answer.status,
    position: answer.position,
    eta_seconds: null,
    created_at: new Date().toISOString(),
    progress: { phase: "starting", step: 0, total_steps: 0, percent: 0 },
    images: [],
    error: null,
  };
  jobs.add(job);
  announce(answer.position > 1 ? t`Accepted, ${ordinal(answer.position)} in line.` : t`Accepted.`);
  for (const warning of answer.warnings ?? []) toast(warning);
  return job;
}

/** `crypto.randomUUID` exists only on https and localhost; this page also lives on home networks. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
}

/** Resolves when the server answers again, after `longest` milliseconds at the latest. */
function serverIsBack(longest) {
  return new Promise((resolve) => {
    const stop = statusPoll.updated.on((status) => status && done());
    const timer = setTimeout(() => done(), longest);
    const done = () => {
      stop();
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Resolves to what `attempt` does; `waiting` is called before each retry. */
export async function retryWhileOffline(attempt, waiting) {
  for (const wait of WAITS) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Offline)) throw error;
      waiting();
      await serverIsBack(wait);
    }
  }
  return attempt();
}
