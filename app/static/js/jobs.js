// The jobs of this tab, oldest first: what is known of each, told to whoever listens. Knows neither network nor page.

import { draft } from "./memory.js";
import { Signal } from "./signal.js";

const MOST = 24; // the oldest finished ones are forgotten; their pictures are in the gallery

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
    keep();
    this.changed.emit(job, null);
  },

  /** Merges news into a job; a later status never goes back to an earlier one of the same attempt. */
  update(id, news) {
    const job = known.get(id);
    if (!job) return;
    const before = job.status;
    Object.assign(job, news);
    if (news.eta_seconds !== undefined) job.eta_at = news.eta_seconds === null ? null : Date.now() + news.eta_seconds * 1000;
    if (!isActive(job)) job.preview = null;
    this.changed.emit(job, before);
  },

  remove(id) {
    if (!known.delete(id)) return;
    keep();
    this.changed.emit(null, null);
  },

  /** The ids that this tab followed before it was loaded again. */
  remembered: () => draft.readJson("jobs", []),
};

function keep() {
  draft.write("jobs", JSON.stringify([...known.keys()]));
}
