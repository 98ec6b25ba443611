// Updates this tab's jobs: event streams for the two that run first, polling for the others and when a stream fails.
// Streams are limited because a browser opens at most six connections to a server, for all tabs together. What is deleted,
// restored, marked or retried in one window of this browser is so in the others, too.

import { ApiError, Offline, get, statusOf } from "./api.js";
import { pathTo } from "./base.js";
import { favorites, marked } from "./favorites.js";
import { isActive, jobs } from "./jobs.js";
import { hide, removal, show } from "./removal.js";

const STREAMS = 2;
const POLL_MILLISECONDS = 1200;
const RETRY_MILLISECONDS = 5000; // before a stream that the server refused is opened again

const streams = new Map(); // job id → EventSource
const retryAt = new Map(); // job id → when its stream may be opened again
let timer = null;
let taking = false; // what comes from another window is not sent on

export function startJobUpdates() {
  jobs.changed.on(assign);
  document.addEventListener("visibilitychange", assign);
  addEventListener("storage", ({ key }) => key === "jobs" && adopt()); // another window has sent one
  adopt();
  const others = new BroadcastChannel("cyberimage");
  const send = (news) => taking || others.postMessage(news);
  removal.changed.on((what, ids) => send({ what, ids }));
  favorites.changed.on((ids, favorite) => send({ ids: [...ids], favorite }));
  jobs.changed.on((job, before) => job && before && isActive(job) && !isActive({ status: before }) && send({ retried: job.job_id }));
  others.onmessage = ({ data }) => take(data);
}

async function take({ what, ids, favorite, retried }) {
  const job = retried && jobs.get(retried) && (await statusOf(retried).catch(() => null));
  taking = true;
  if (job) jobs.update(retried, job);
  else if (favorite !== undefined) marked(ids, favorite);
  else if (what === "hidden") hide(ids);
  else if (what === "restored") show(ids);
  else if (what) removal.changed.emit(what, ids);
  taking = false;
}

/** Follows the jobs of other windows, and those from before this one was reloaded, oldest first. */
async function adopt() {
  const missing = jobs.stored().filter((id) => !jobs.get(id));
  const found = await Promise.all(missing.map((id) => statusOf(id).catch((error) => [404, 410].includes(error.status) && jobs.remove(id))));
  for (const job of found) if (job) jobs.add(job);
}

const active = () => jobs.list().filter(isActive);

/** Assigns the streams to the jobs that run or will run first; none while the tab is hidden. */
function assign() {
  const rank = (job) => (job.status === "PROCESSING" ? 0 : (job.position ?? 1e6));
  const waiting = active().filter((job) => (retryAt.get(job.job_id) ?? 0) < Date.now());
  const wanted = document.hidden ? [] : waiting.sort((a, b) => rank(a) - rank(b)).slice(0, STREAMS).map((job) => job.job_id);
  for (const [id, stream] of streams) if (!wanted.includes(id)) close(id, stream);
  for (const id of wanted) if (!streams.has(id)) open(id);
  if (active().length && timer === null) timer = setTimeout(poll, POLL_MILLISECONDS);
}

function open(id) {
  const stream = new EventSource(pathTo(`api/jobs/${id}/events`));
  streams.set(id, stream);
  const on = (name, handle) =>
    stream.addEventListener(name, (event) => {
      stream.live = true;
      handle(JSON.parse(event.data));
    });
  on("status", (body) => jobs.update(id, body));
  on("progress", ({ phase, step, total_steps, percent, downloaded_bytes, total_bytes, ...rest }) =>
    jobs.update(id, { ...rest, progress: { phase, step, total_steps, percent, downloaded_bytes, total_bytes } }));
  on("preview", ({ image, step }) => {
    if (/^data:image\/(png|jpeg|webp);base64,/.test(image)) jobs.update(id, { preview: image, preview_step: step });
  });
  on("problem", () => closeForNow(id, stream));
  stream.onerror = () => {
    stream.live = false;
    if (stream.readyState === EventSource.CLOSED) closeForNow(id, stream); // otherwise the browser reconnects itself
  };
}

function closeForNow(id, stream) {
  retryAt.set(id, Date.now() + RETRY_MILLISECONDS);
  close(id, stream);
}

function close(id, stream) {
  stream.close();
  streams.delete(id);
}

/** Polls every active job without a live stream. */
async function poll() {
  try {
    const unstreamed = active().filter((job) => !streams.get(job.job_id)?.live);
    let line = [];
    if (unstreamed.length > 2) {
      const queue = await get("api/queue");
      line = [...queue.running, ...queue.waiting];
    }
    for (const job of unstreamed) {
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

/** Removes the jobs that the server does not know any more. */
async function forgetLost() {
  for (const { job_id: id } of active()) {
    await statusOf(id).catch((error) => [404, 410].includes(error.status) && jobs.remove(id));
  }
}
