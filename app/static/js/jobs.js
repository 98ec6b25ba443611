// Store of this tab's jobs, oldest first, with a change signal. Independent of network and page.

import { Signal } from "./signal.js";
import { sessionStore } from "./storage.js";

const MOST = 24; // the oldest finished ones are dropped; their images are in the gallery

const known = new Map();

export const isActive = (job) => job.status === "PENDING" || job.status === "PROCESSING";

export const jobs = {
  changed: new Signal(), // (job, status before or null); (null) when one was removed
  list: () => [...known.values()],
  get: (id) => known.get(id),

  add(job) {
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
    store();
    this.changed.emit(null, null);
  },

  /** The ids of this tab's jobs before it was reloaded. */
  stored: () => sessionStore.readJson("jobs", []),
};

function store() {
  sessionStore.write("jobs", JSON.stringify([...known.keys()]));
}
