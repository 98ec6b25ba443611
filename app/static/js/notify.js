// Notifications of the system for jobs that end while the page is not in sight. Imported where the user has asked for it.

import { jobs } from "./jobs.js";
import { localStore } from "./storage.js";

const ENDS = { COMPLETED: "Finished", FAILED: "Failed" };
let started = false;

export function startNotifications() {
  if (started) return;
  started = true;
  jobs.changed.on((job, before) => {
    if (job && before && before !== job.status && job.status in ENDS && document.hidden) notify(job);
  });
}

function notify(job) {
  if (localStore.read("notify") !== "on" || Notification.permission !== "granted") return;
  const picture = job.images?.[0]?.thumbnail_url;
  // Every window of this browser notifies: one tag makes it one notification.
  const said = new Notification(ENDS[job.status], { body: job.error?.message ?? job.prompt.slice(0, 120), tag: job.job_id, ...(picture ? { icon: picture } : {}) });
  said.onclick = () => {
    window.focus();
    location.hash = "#/";
    said.close();
  };
}
