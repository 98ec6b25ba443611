// Asks the server how it is doing, again and again, and tells whoever listens. Keeps the last minutes for the charts.

import { ApiError, get } from "./api.js";
import { Signal } from "./signal.js";

const USUAL = 3000;
const WHEN_OFFLINE = 1200;
const WHEN_HIDDEN = 20_000;
const SAMPLES = 240;

export const pulse = {
  beat: new Signal(), // (status body or null when nobody answers)
  last: undefined,
  samples: [], // {at, status}, oldest first
};

let timer = null;

export function startPulse() {
  document.addEventListener("visibilitychange", () => !document.hidden && beatNow());
  addEventListener("online", beatNow);
  beatNow();
}

export function beatNow() {
  clearTimeout(timer);
  timer = setTimeout(beat, 0);
}

async function beat() {
  let status = null;
  try {
    status = await get("status");
    pulse.samples.push({ at: Date.now(), status });
    if (pulse.samples.length > SAMPLES) pulse.samples.shift();
  } catch (error) {
    const name = error.status === 401 ? "session" : "server";
    if (error instanceof ApiError) status = { ready: false, checks: { [name]: error.message }, queue: {}, workers: [] };
  }
  pulse.last = status;
  pulse.beat.emit(status);
  clearTimeout(timer);
  timer = setTimeout(beat, document.hidden ? WHEN_HIDDEN : status ? USUAL : WHEN_OFFLINE);
}
