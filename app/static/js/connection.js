// The server's state in the header and the banner: ready, busy, not ready, offline.

import { loadCatalog } from "./catalog.js";
import { $, say } from "./dom.js";
import { plural } from "./format.js";
import { jobs } from "./jobs.js";
import { announce } from "./notices.js";
import { pollNow, statusPoll } from "./status-poll.js";
import { t } from "./strings.js";

const ADVICE = {
  workers: t`No worker is running, so pictures wait in line. Start one with “python worker.py”.`,
  devices: t`No graphics device works, so pictures wait in line. They are made when the device passes its test again.`,
  disk: t`The disk is almost full, so new pictures are refused. Delete some, or make room.`,
  database: t`The database does not respond. Accepted jobs are safe.`,
  session: t`You are not signed in. Sign in at the top to see your pictures and make new ones.`,
  server: t`The server is stopping. It takes new pictures when it is back.`,
};

let state = "unknown";
let misses = 0;

export function startConnection() {
  statusPoll.updated.on(read);
  jobs.changed.on((job, before) => job?.status !== before && pollNow());
}

function read(status) {
  misses = status ? 0 : misses + 1;
  if (misses === 1 && state !== "unknown") return; // one lost response is not reported
  const waiting = status?.queue?.PENDING ?? 0;
  const running = status?.queue?.PROCESSING ?? 0;
  const [next, words] = judge(status, waiting, running);
  const badge = $("#queue-badge");
  badge.hidden = waiting + running === 0;
  say(badge, String(waiting + running));
  $("#server-status").dataset.state = next;
  say($("#server-status-text"), words);
  const advice = adviceFor(status, next);
  const banner = $("#banner");
  banner.dataset.state = next;
  banner.hidden = !advice;
  say(banner, advice);
  if (state === "offline" && next !== "offline") {
    announce(t`CyberImage is back.`);
    loadCatalog().catch(() => {});
  }
  state = next;
}

function judge(status, waiting, running) {
  if (!status) return ["offline", t`Offline`];
  if (status.checks.session) return ["warn", t`Signed out`];
  if (!status.ready) return ["warn", status.checks.workers !== "ok" && status.checks.workers ? t`No worker` : status.checks.devices !== "ok" && status.checks.devices ? t`No device` : t`Not ready`];
  if (running) return ["busy", waiting ? t`${running} running, ${waiting} waiting` : plural(running, "job running", "jobs running")];
  return ["ready", t`Ready`];
}

function adviceFor(status, next) {
  if (next === "offline") return t`CyberImage does not answer. Nothing you typed is lost; the page reconnects by itself.`;
  if (next !== "warn") return "";
  const wrong = Object.keys(status.checks).find((name) => status.checks[name] !== "ok");
  return ADVICE[wrong] ?? `${wrong}: ${status.checks[wrong]}`;
}
