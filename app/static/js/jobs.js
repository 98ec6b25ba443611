// Store of this browser's jobs, oldest first, with a change signal. Independent of network and page.

import { Signal } from "./signal.js";
import { localStore } from "./storage.js";

const MOST = 24; // the oldest finished ones are dropped; their images are in the gallery
const KEY = "jobs"; // of all windows of this browser: [{id, at}], oldest first
const FRESH_MILLISECONDS = 3_600_000; // a new window shows what is younger

const known = new Map();

export const isActive = (job) => job.status === "PENDING" || job.status === "PROCESSING";

export const jobs = {
  changed: new Signal(), // (job, status before or null); (null) when one was removed
  list: () => [...known.values()],
  get: (id) => known.get(id),

  add(job) {
    if (known.has(job.job_id)) return;
    known.set(job.job_id, job);
    for (const old of known.values()) {
      if (known.size <= MOST) break;
      if (!isActive(old)) known.delete(old.job_id);
    }
    store();
    this.changed.emit(job, null);
  },

  /** Merges `changes` into a job and emits its previous status. */
  update(id, changes) {
    const job = known.get(id);
    if (!job) return;
    const before = job.status;
    Object.assign(job, changes);
    const { eta_seconds: eta } = changes;
    if (eta !== undefined) job.eta_at = eta === null ? null : Date.now() + eta * 1000;
    if (!isActive(job)) job.preview = null;
    this.changed.emit(job, before);
  },

  remove(id) {
    if (!known.delete(id)) return;
    store(id);
    this.changed.emit(null, null);
  },

  /** The ids of the jobs that windows of this browser have lately sent, oldest first. */
  stored: () => entries().filter(({ at }) => Date.now() - at < FRESH_MILLISECONDS).map(({ id }) => id),
};

/** Those of other windows stay, unless they were removed here. */
function store(removed = null) {
  const kept = entries().filter(({ id }) => id !== removed && !known.has(id));
  const own = [...known.values()].map((job) => ({ id: job.job_id, at: Date.parse(job.created_at) || Date.now() }));
  localStore.write(KEY, JSON.stringify([...kept, ...own].sort((a, b) => a.at - b.at).slice(-MOST)));
}

function entries() {
  const found = localStore.readJson(KEY, []);
  return Array.isArray(found) ? found.filter((one) => typeof one?.id === "string" && /^[0-9a-f]{32}$/.test(one.id)) : [];
}
