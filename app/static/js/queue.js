// The queue view: running jobs, waiting jobs with their order, recent failures, and workers.

import { cancelJob, retryJob } from "./actions.js";
import { get, images } from "./api.js";
import { modelOf } from "./catalog.js";
import { $, button, el, say } from "./dom.js";
import { ago, bytes, plural } from "./format.js";
import { isMeasured, remainingText, STATUS_LABELS, statusText } from "./job-text.js";
import { subRoute } from "./router.js";

const POLL_MILLISECONDS = 1500;
const FAILURES = 8;
const parts = {};
const rows = new Map(); // job id → its row
let timer = null;
let failuresSeen = null;
let batches = null; // the module, imported after the rest is shown

export function build(root) {
  const section = (name, title, note = null) => {
    parts[name] = el("ul", { class: "rows" });
    parts[`${name}-none`] = el("p", { class: "none" });
    return el("section", { class: "queue-part", "aria-label": title }, el("header", { class: "section-head" }, el("h2", {}, title)), note, parts[name], parts[`${name}-none`]);
  };
  const why = el("details", { class: "why" }, el("summary", {}, "Who is served first?"), el("p", {}, WHY));
  parts.counts = el("dl", { class: "counts" }, Object.entries(STATUS_LABELS).map(([status, words]) => el("div", { data: { status } }, el("dt", {}, words), el("dd", {}, "–"))));
  root.append(
    el("header", { class: "view-head" }, el("h1", { id: "queue-title", tabindex: "-1" }, "Queue")),
    parts.counts,
    (parts.batches = el("section", { class: "batches", "aria-label": "Batches", hidden: true })),
    el(
      "div",
      { class: "queue-columns" },
      el("div", {}, section("running", "Running"), section("waiting", "Waiting", why), section("failures", "Failed lately")),
      section("workers", "Workers"),
    ),
  );
}

const WHY =
  "Higher priority comes first. Within a priority users take turns, one job each, so no user waits behind another’s long list. " +
  "A worker may take a job of a model that it already holds before the first in line, because loading is slow, but only for a short while.";

export function show() {
  refresh();
  showBatches();
}

/** The address changed while the view is shown. */
export const moved = () => showBatches();

export function hide() {
  clearTimeout(timer);
  timer = null;
  batches?.hide();
}

async function showBatches() {
  if (!batches) {
    const module = await import("./batches.js").catch(() => null); // offline: the next visit tries again
    if (!module || batches) return;
    batches = module;
    await module.build(parts.batches);
  }
  batches.show(subRoute().rest);
}

async function refresh() {
  clearTimeout(timer);
  try {
    const queue = await get("api/queue");
    for (const job of [...queue.running, ...queue.waiting]) job.eta_at = job.eta_seconds === null ? null : Date.now() + job.eta_seconds * 1000;
    render(queue);
    if (queue.counts.FAILED !== failuresSeen) {
      failuresSeen = queue.counts.FAILED;
      renderFailures((await images({ status: "FAILED", limit: FAILURES })).images);
    }
  } catch {
    /* the banner reports the error; the view keeps its contents */
  }
  if (!$('main > [data-view="queue"]').hidden) timer = setTimeout(refresh, POLL_MILLISECONDS);
}

function render({ counts, running, waiting, workers }) {
  for (const node of parts.counts.children) say($("dd", node), (counts[node.dataset.status] ?? 0).toLocaleString("en"));
  const held = new Set(workers.flatMap((worker) => worker.models.map((model) => model.model_id)));
  const current = new Set([...running, ...waiting].map((job) => job.job_id));
  for (const [id, row] of rows) if (!current.has(id)) rows.delete(id) && row.remove();
  fill("running", running, (job) => patch(job, held, waiting), "Nothing is running.");
  fill("waiting", waiting, (job) => patch(job, held, waiting), "No jobs are waiting.");
  const more = counts.PENDING - waiting.length;
  if (more > 0 && waiting.length) say(parts["waiting-none"], `and ${plural(more, "more job")}`);
  parts["waiting-none"].hidden = waiting.length > 0 && more <= 0;
  fill("workers", workers, worker, "No worker is running. Start one with “python worker.py”; waiting jobs are safe.");
}

function fill(name, items, make, none) {
  const nodes = items.map(make);
  const list = parts[name];
  nodes.forEach((node, index) => list.children[index] !== node && list.insertBefore(node, list.children[index] ?? null));
  while (list.children.length > nodes.length) list.lastElementChild.remove();
  parts[`${name}-none`].hidden = nodes.length > 0;
  say(parts[`${name}-none`], none);
}

function patch(job, held, waiting) {
  const row = rows.get(job.job_id) ?? jobRow(job);
  rows.set(job.job_id, row);
  const running = job.status === "PROCESSING";
  row.dataset.status = job.status;
  say($(".place", row), running ? "" : String(job.position ?? ""));
  say($(".status-text", row), statusText(job));
  say($(".remaining", row), remainingText(job));
  say($(".reason", row), running ? "" : reason(job, held, waiting));
  const bar = $("progress", row);
  bar.hidden = !running;
  if (isMeasured(job)) bar.value = job.progress.percent;
  else bar.removeAttribute("value");
  $("button", row).disabled = Boolean(job.cancel_requested);
  return row;
}

function jobRow(job) {
  const model = modelOf(job.model_id)?.name ?? job.model_id;
  return el(
    "li",
    { class: "row", data: { id: job.job_id } },
    el("span", { class: "place" }),
    el(
      "div",
      { class: "row-words" },
      el("p", { class: "row-prompt" }, job.prompt),
      el("p", { class: "facts" }, el("span", {}, model), el("span", { class: "status-text" }), el("span", { class: "remaining" }), el("span", { class: "reason" })),
      el("progress", { max: 100, "aria-label": "Progress" }),
    ),
    button("Cancel", "close", () => cancelJob(job.job_id).then(refresh)),
  );
}

/** Why a waiting job is at its position, as far as the queue's data shows. */
function reason(job, held, waiting) {
  if (job.error) return `tried ${plural(job.attempt, "time")}: ${job.error.message}`;
  const parts = [];
  if (job.priority) parts.push(`priority ${job.priority > 0 ? "+" : ""}${job.priority}`);
  const older = waiting.some((other) => other.created_at < job.created_at && other.position > job.position && other.priority === job.priority);
  if (older) parts.push("its owner’s turn");
  else if (job.position === 1 && !job.priority) parts.push("waits longest");
  if (held.has(job.model_id)) parts.push("model in memory");
  return parts.join(", ");
}

function renderFailures(items) {
  const row = (item) =>
    el(
      "li",
      { class: "row", data: { status: item.status, id: item.job_id } },
      el("div", { class: "row-words" }, el("p", { class: "row-prompt" }, item.prompt), el("p", { class: "row-error" }, item.error?.message ?? ""), el("p", { class: "facts" }, el("span", {}, item.model_id), el("span", {}, ago(item.created_at)))),
      button("Retry", "retry", () => retryJob(item.job_id).then(refresh)),
    );
  fill("failures", items, row, "Nothing failed.");
}

function worker(one) {
  const memory = (model) => [model.device_bytes && `${bytes(model.device_bytes)} on the ${model.device === "cpu" ? "CPU" : "GPU"}`, model.host_bytes && `${bytes(model.host_bytes)} in RAM`, model.parked && "waiting"].filter(Boolean).join(", ");
  return el(
    "li",
    { class: "row worker", data: { state: one.state } },
    el(
      "div",
      { class: "row-words" },
      el("p", { class: "row-prompt" }, el("span", { class: "dot", "aria-hidden": "true" }), `${one.device.toUpperCase()} on ${one.host}`, el("span", { class: "chip", data: { status: one.job_id ? "PROCESSING" : "" } }, one.state)),
      el("p", { class: "facts" }, el("span", {}, `process ${one.pid}`), el("span", {}, `${bytes(one.rss_bytes)} RAM`), one.vram_bytes > 0 && el("span", {}, `${bytes(one.vram_bytes)} VRAM`), el("span", {}, `seen ${ago(one.heartbeat_at)}`)),
      one.device_error && el("p", { class: "row-error" }, `Out of service until it passes a test: ${one.device_error}`),
      one.models.length ? el("ul", { class: "held" }, one.models.map((model) => el("li", {}, el("span", {}, model.model_id), el("span", {}, memory(model))))) : el("p", { class: "facts" }, "holds no model yet"),
    ),
  );
}
