// Polls the server's status and emits it. Keeps samples of the last minutes for the charts.

import { ApiError, get } from "./api.js";
import { Signal } from "./signal.js";

const WHEN_VISIBLE = 3000; // milliseconds, like the following
const WHEN_OFFLINE = 1200;
const WHEN_HIDDEN = 20_000;
const SAMPLES = 240;

export const statusPoll = {
  updated: new Signal(), // (status body, or null when the server does not respond)
  last: undefined,
  samples: [], // {at, status}, oldest first
};

let timer = null;

export function startStatusPoll() {
  document.addEventListener("visibilitychange", () => !document.hidden && pollNow());
  addEventListener("online", pollNow);
  pollNow();
}

export function pollNow() {
  clearTimeout(timer);
  timer = setTimeout(poll, 0);
}

async function poll() {
  let status = null;
  try {
    status = await get("status");
    statusPoll.samples.push({ at: Date.now(), status });
    if (statusPoll.samples.length > SAMPLES) statusPoll.samples.shift();
  } catch (error) {
    const name = error.status === 401 ? "session" : "server";
    if (error instanceof ApiError) status = { ready: false, checks: { [name]: error.message }, queue: {}, workers: [] };
  }
  statusPoll.last = status;
  statusPoll.updated.emit(status);
  clearTimeout(timer);
  timer = setTimeout(poll, document.hidden ? WHEN_HIDDEN : status ? WHEN_VISIBLE : WHEN_OFFLINE);
}
