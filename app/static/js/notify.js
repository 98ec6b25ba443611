// Notifications of the system, and a sound, for jobs that end while the page is not in sight. Imported where the user has
// asked for one of them.

import { jobs } from "./jobs.js";
import { localStore } from "./storage.js";
import { t, told } from "./strings.js";

const ENDS = { COMPLETED: t`Finished`, FAILED: t`Failed` };
const TONE_SECONDS = 0.14;
let started = false;

export function startNotifications() {
  if (started) return;
  started = true;
  jobs.changed.on((job, before) => {
    if (!(job && before && before !== job.status && job.status in ENDS && document.hidden)) return;
    notify(job);
    if (localStore.read("sound") === "on") playSound(job.status === "COMPLETED" ? [660, 880] : [330, 247]);
  });
}

function notify(job) {
  if (localStore.read("notify") !== "on" || Notification.permission !== "granted") return;
  const picture = job.images?.[0]?.thumbnail_url;
  // Every window of this browser notifies: one tag makes it one notification.
  const said = new Notification(ENDS[job.status], { body: job.error ? told(job.error.code, job.error.message) : job.prompt.slice(0, 120), tag: job.job_id, ...(picture ? { icon: picture } : {}) });
  said.onclick = () => {
    window.focus();
    location.hash = "#/";
    said.close();
  };
}

/** Short tones one after the other, by their frequencies in hertz. Silent until the page was used once: browsers want that. */
export function playSound(tones) {
  const audio = new AudioContext();
  tones.forEach((frequency, at) => {
    const begin = audio.currentTime + at * TONE_SECONDS;
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0.15, begin);
    volume.gain.exponentialRampToValueAtTime(0.001, begin + 2 * TONE_SECONDS);
    tone.connect(volume).connect(audio.destination);
    tone.start(begin);
    tone.stop(begin + 2 * TONE_SECONDS);
  });
  setTimeout(() => audio.close(), 1000 * TONE_SECONDS * (tones.length + 2));
}
