// The queue view: running jobs, waiting jobs with their order, recent failures, and workers.

import { retryJob } from "./actions.js";
import { get, images, post } from "./api.js";
import { $, button, el, say } from "./dom.js";
import { ago, bytes, number, plural } from "./format.js";
import { STATUS_LABELS } from "./job-text.js";
import { toast } from "./notices.js";
import { batchRow, jobRow, patch, patchBatch } from "./queue-rows.js";
import { queueSelection } from "./queue-selection.js";
import { subRoute } from "./router.js";
import { t, told } from "./strings.js";

const POLL_MILLISECONDS = 1500;
const FAILURES = 8;
const WORKER_STATES = { starting: t`starting`, idle: t`idle`, busy: t`busy`, loading: t`loading`, draining: t`draining`, unhealthy: t`unhealthy` };
const parts = {};
const rows = new Map(); // id of a job, or of a batch whose jobs wait → its row
let timer = null;
let failuresSeen = null;
let batches = null; // the module, imported after the rest is shown
let selection = null;

export function build(root) {
  const section = (name, title, note = null) => {
    parts[name] = el("ul", { class: "rows" });
    parts[`${name}-none`] = el("p", { class: "none" });
    return el("section", { class: "queue-part", "aria-label": title }, el("header", { class: "section-head" }, el("h2", {}, title)), note, parts[name], parts[`${name}-none`]);
  };
  const why = el("details", { class: "why" }, el("summary", {}, t`Who is served first?`), el("p", {}, WHY));
  const columns = el("div", {}, section("running", t`Running`), section("waiting", t`Waiting`, why), section("failures", t`Failed lately`));
  selection = queueSelection([parts.running, parts.waiting], refresh);
  parts.counts = el("dl", { class: "counts" }, Object.entries(STATUS_LABELS).map(([status, words]) => el("div", { data: { status } }, el("dt", {}, words), el("dd", {}, "–"))));
  root.append(
    el("header", { class: "view-head" }, el("h1", { id: "queue-title", tabindex: "-1" }, t`Queue`), selection.start),
    selection.bar,
    parts.counts,
    (parts.batches = el("section", { class: "batches", "aria-label": t`Batches`, hidden: true })),
    el(
      "div",
      { class: "queue-columns" },
      columns,
      section("workers", t`Workers`),
    ),
  );
}

const WHY =
  t`Higher priority comes first. Within a priority users take turns, one job each, so no user waits behind another’s long list.` +
  " " +
  t`A worker may take a job of a model that it already holds before the first in line, because loading is slow, but only for a short while.`;

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
  for (const node of parts.counts.children) say($("dd", node), number(counts[node.dataset.status] ?? 0));
  const held = new Set(workers.flatMap((worker) => worker.models.map((model) => model.model_id)));
  const [single, grouped] = byBatch(waiting);
  const current = new Set([...running, ...waiting].flatMap((job) => [job.job_id, job.batch_id]));
  for (const [id, row] of rows) if (!current.has(id)) rows.delete(id) && row.remove();
  fill("running", running, (job) => jobNode(job, held, waiting), t`Nothing is running.`);
  fill("waiting", single, (job) => (grouped.has(job.batch_id) ? batchNode(job.batch_id, grouped.get(job.batch_id)) : jobNode(job, held, waiting)), t`No jobs are waiting.`);
  const shown = [...grouped.keys()].reduce((sum, id) => sum + Math.max(0, (batches?.summaries.get(id)?.counts.PENDING ?? 0) - grouped.get(id).length), waiting.length);
  const more = counts.PENDING - shown;
  if (more > 0 && waiting.length) say(parts["waiting-none"], t`and ${plural(more, "more job")}`);
  parts["waiting-none"].hidden = waiting.length > 0 && more <= 0;
  selection.show();
  fill("workers", workers, worker, t`No worker is running. Start one with “python worker.py”; waiting jobs are safe.`);
}

/** [those that get a row, batch id → its waiting jobs]: the first job of a batch stands for all of them. */
function byBatch(waiting) {
  const grouped = new Map();
  const shown = waiting.filter((job) => {
    if (!job.batch_id) return true;
    const first = !grouped.has(job.batch_id);
    grouped.set(job.batch_id, [...(grouped.get(job.batch_id) ?? []), job]);
    return first;
  });
  return [shown, grouped];
}

function jobNode(job, held, waiting) {
  const row = rows.get(job.job_id) ?? jobRow(job, refresh);
  rows.set(job.job_id, row);
  patch(row, job, held, waiting);
  return row;
}

function batchNode(id, members) {
  const row = rows.get(id) ?? batchRow(id, () => cancelBatch(id));
  rows.set(id, row);
  patchBatch(row, members, batches?.summaries.get(id) ?? null);
  return row;
}

async function cancelBatch(id) {
  await post(`api/batches/${id}/cancel`).catch((error) => toast(error.message, { kind: "error" }));
  refresh();
}

function fill(name, items, make, none) {
  const nodes = items.map(make);
  const list = parts[name];
  nodes.forEach((node, index) => list.children[index] !== node && list.insertBefore(node, list.children[index] ?? null));
  while (list.children.length > nodes.length) list.lastElementChild.remove();
  parts[`${name}-none`].hidden = nodes.length > 0;
  say(parts[`${name}-none`], none);
}

function renderFailures(items) {
  const row = (item) =>
    el(
      "li",
      { class: "row", data: { status: item.status, id: item.job_id } },
      el("div", { class: "row-words" }, el("p", { class: "row-prompt", dir: "auto" }, item.prompt), el("p", { class: "row-error" }, item.error ? told(item.error.code, item.error.message) : ""), el("p", { class: "facts" }, el("span", {}, item.model_id), el("span", {}, ago(item.created_at)))),
      button(t`Retry`, "retry", () => retryJob(item.job_id).then(refresh)),
    );
  fill("failures", items, row, t`Nothing failed.`);
}

function worker(one) {
  const memory = (model) => [model.device_bytes && t`${bytes(model.device_bytes)} on the ${model.device === "cpu" ? "CPU" : "GPU"}`, model.host_bytes && t`${bytes(model.host_bytes)} in RAM`, model.parked && t`waiting`].filter(Boolean).join(", ");
  return el(
    "li",
    { class: "row worker", data: { state: one.state } },
    el(
      "div",
      { class: "row-words" },
      el("p", { class: "row-prompt", dir: "auto" }, el("span", { class: "dot", "aria-hidden": "true" }), t`${one.device.toUpperCase()} on ${one.host}`, el("span", { class: "chip", data: { status: one.job_id ? "PROCESSING" : "" } }, WORKER_STATES[one.state] ?? one.state)),
      el("p", { class: "facts" }, el("span", {}, t`process ${one.pid}`), el("span", {}, `${bytes(one.rss_bytes)} RAM`), one.vram_bytes > 0 && el("span", {}, `${bytes(one.vram_bytes)} VRAM`), el("span", {}, t`seen ${ago(one.heartbeat_at)}`)),
      one.device_error && el("p", { class: "row-error" }, t`Out of service until it passes a test: ${one.device_error}`),
      one.models.length ? el("ul", { class: "held" }, one.models.map((model) => el("li", {}, el("span", {}, model.model_id), el("span", {}, memory(model))))) : el("p", { class: "facts" }, t`holds no model yet`),
    ),
  );
}
