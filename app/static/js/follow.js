// Keeps the tab's jobs up to date: event streams for the two that matter most, polling for the rest and whenever a
// stream is broken. A browser opens six connections to a server, for all tabs together, so streams are rationed.

import { ApiError, Offline, get, statusOf } from "./api.js";
import { pathTo } from "./base.js";
import { isActive, jobs } from "./jobs.js";

const STREAMS = 2;
const POLL_MILLISECONDS = 1200;
const REST_MILLISECONDS = 5000; // before a stream that the server refused is tried again

const streams = new Map(); // job id → EventSource
const resting = new Map(); // job id → when it may have a stream again
let timer = null;

export function startFollowing() {
  jobs.changed.on(assign);
  document.addEventListener("visibilitychange", assign);
  for (const id of jobs.remembered()) statusOf(id).then((job) => jobs.add(job), () => {});
}

const active = () => jobs.list().filter(isActive);

/** Gives the streams to the jobs that run or will run first; none while nobody looks. */
function assign() {
  const rank = (job) => (job.status === "PROCESSING" ? 0 : (job.position ?? 1e6));
  const waiting = active().filter((job) => (resting.get(job.job_id) ?? 0) < Date.now());
  const wanted = document.hidden ? [] : waiting.sort((a, b) => rank(a) - rank(b)).slice(0, STREAMS).map((job) => job.job_id);
  for (const [id, stream] of streams) if (!wanted.includes(id)) close(id, stream);
  for (const id of wanted) if (!streams.has(id)) open(id);
  if (active().length && timer === null) timer = setTimeout(poll, POLL_MILLISECONDS);
}

function open(id) {
  const stream = new EventSource(pathTo(`api/jobs/${id}/events`));
  streams.set(id, stream);
  const hear = (name, take) =>
    stream.addEventListener(name, (event) => {
      stream.live = true;
      take(JSON.parse(event.data));
    });
  hear("status", (body) => jobs.update(id, body));
  hear("progress", ({ phase, step, total_steps, percent, downloaded_bytes, total_bytes, ...rest }) =>
    jobs.update(id, { ...rest, progress: { phase, step, total_steps, percent, downloaded_bytes, total_bytes } }));
  hear("preview", ({ image, step }) => {
    if (/^data:image\/(png|jpeg|webp);base64,/.test(image)) jobs.update(id, { preview: image, preview_step: step });
  });
  hear("problem", () => rest(id, stream));
  stream.onerror = () => {
    stream.live = false;
    if (stream.readyState === EventSource.CLOSED) rest(id, stream); // else the browser tries again by itself
  };
}

function rest(id, stream) {
  resting.set(id, Date.now() + REST_MILLISECONDS);
  close(id, stream);
}

function close(id, stream) {
  stream.close();
  streams.delete(id);
}

/** Asks about every active job that has no living stream. */
async function poll() {
  try {
    const silent = active().filter((job) => !streams.get(job.job_id)?.live);
    let line = [];
    if (silent.length > 2) {
      const queue = await get("api/queue");
      line = [...queue.running, ...queue.waiting];
    }
    for (const job of silent) {
      const found = line.find((one) => one.job_id === job.job_id);
      jobs.update(job.job_id, found ?? (await statusOf(job.job_id)));
    }
  } catch (error) {
    if (error instanceof ApiError && [404, 410].includes(error.status)) forgetLost();
    else if (!(error instanceof Offline || error instanceof ApiError)) throw error;
  } finally {
    timer = null;
    assign();
  }
}

/** Some job is not known any more: find out which. */
async function forgetLost() {
  for (const { job_id: id } of active()) {
    await statusOf(id).catch((error) => [404, 410].includes(error.status) && jobs.remove(id));
  }
}
