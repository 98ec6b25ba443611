// Batches in the queue view: a list, and the grid of one with its axes as rows and columns, filled live.

import { isAdmin } from "./access.js";
import { get, post } from "./api.js";
import { pathTo } from "./base.js";
import { $, $$, button, el, say } from "./dom.js";
import { plural, roughly } from "./format.js";
import { toast } from "./notices.js";
import { style } from "./router.js";
import { t, told } from "./strings.js";

const POLL_MILLISECONDS = 2000;
const PAGE = 200; // places of one answer
const MOST_CELLS = 2000;
const [FIRST, LAST] = [10, -10]; // priorities
const BATCH_STATUS = { RUNNING: t`running`, PAUSED: t`paused`, ENDED: t`ended` };
const PLACE_STATUS = { PENDING: "", PROCESSING: "…", COMPLETED: t`removed`, CANCELLED: t`cancelled`, FAILED: t`failed` };
const parts = {};
let timer = null;
export const summaries = new Map(); // id → as it was last listed
let chosen = null; // { id, cells: place → cell, done: first places of pages that will not change }

/** `root` is filled; `show` is called with the id in the address, or an empty string. */
export async function build(root) {
  await style("batches");
  parts.list = el("ul", { class: "rows" });
  parts.grid = el("div", { class: "batch-grid", hidden: true });
  root.append(el("header", { class: "section-head" }, el("h2", {}, t`Batches`)), parts.list, parts.grid);
  parts.root = root;
}

export async function show(id) {
  clearTimeout(timer);
  if (chosen?.id !== id) {
    chosen = id ? { id, cells: new Map(), done: new Set() } : null;
    parts.grid.replaceChildren();
  }
  parts.grid.hidden = !chosen;
  try {
    const { batches } = await get("api/batches?limit=20");
    parts.root.hidden = !batches.length && !chosen;
    for (const batch of batches) summaries.set(batch.batch_id, batch);
    showRows(batches);
    if (chosen) await showGrid(chosen);
  } catch (error) {
    if (chosen && error.status === 404) say(parts.grid, t`There is no such batch.`);
  }
  if (!$('main > [data-view="queue"]').hidden) timer = setTimeout(() => show(id), POLL_MILLISECONDS);
}

export function hide() {
  clearTimeout(timer);
  timer = null;
}

/** Rows that have not changed stay, and what was focused is focused in the new one. */
function showRows(batches) {
  const before = new Map([...parts.list.children].map((node) => [node.dataset.batch, node]));
  const { activeElement: focused } = document;
  const within = focused.closest?.(".row")?.dataset.batch;
  const nodes = batches.map((batch) => {
    const [old, state] = [before.get(batch.batch_id), JSON.stringify([batch, isAdmin()])];
    return old?.state === state ? old : Object.assign(row(batch), { state });
  });
  parts.list.replaceChildren(...nodes);
  if (!within || document.activeElement === focused) return;
  const now = nodes.find(({ dataset }) => dataset.batch === within);
  const same = focused.isConnected ? focused : $$("a, button", now ?? parts.list).find((node) => node.textContent === focused.textContent);
  (same ?? $("a, button", now ?? parts.list))?.focus({ preventScroll: true });
}

function row(batch) {
  const failed = batch.counts.FAILED ? t`, ${batch.counts.FAILED} failed` : "";
  const act = (verb, body = undefined) => async () => {
    try {
      await post(`api/batches/${batch.batch_id}/${verb}`, body);
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
    show(chosen?.id ?? "");
  };
  const running = batch.status === "RUNNING";
  return el(
    "li",
    { class: "row", data: { status: running ? "PROCESSING" : batch.status, batch: batch.batch_id } },
    el(
      "div",
      { class: "row-words" },
      el("a", { class: "row-prompt", dir: "auto", href: `#/queue/${batch.batch_id}` }, batch.name ?? plural(batch.jobs, "job")),
      el("p", { class: "facts" }, el("span", {}, t`${batch.counts.COMPLETED} of ${batch.jobs}${failed}`), el("span", {}, BATCH_STATUS[batch.status] ?? batch.status.toLowerCase()), batch.priority !== 0 && el("span", {}, t`priority ${batch.priority > 0 ? "+" : ""}${batch.priority}`)),
      el("progress", { max: 100, value: batch.percent, "aria-label": t`Progress` }),
    ),
    batch.counts.PENDING > 0 && priorityButton(batch, act),
    batch.status === "PAUSED" && button(t`Resume`, null, act("resume")),
    running && button(t`Pause`, null, act("pause")),
    batch.status !== "ENDED" && button(t`Cancel`, "close", act("cancel")),
    batch.status === "ENDED" && batch.counts.FAILED > 0 && button(t`Retry failed`, "retry", act("retry-failed", {})),
  );
}

/** An administrator moves a batch before all others; anyone else may let the others go first. */
function priorityButton({ priority }, act) {
  if (priority !== 0) return button(t`Usual turn`, null, act("priority", { priority: 0 }), { title: t`It takes turns with the other jobs again` });
  if (isAdmin()) return button(t`Move to the top`, null, act("priority", { priority: FIRST }), { title: t`Before all that waits at a lower priority` });
  return button(t`Let others first`, null, act("priority", { priority: LAST }), { title: t`After all that waits at a higher priority` });
}

async function showGrid(batch) {
  for (let offset = 0; offset !== null && offset < MOST_CELLS && chosen === batch; ) {
    if (batch.done.has(offset)) {
      offset += PAGE;
      if (offset >= batch.jobs) return;
      continue;
    }
    const body = await get(`api/batches/${batch.id}?offset=${offset}&limit=${PAGE}`);
    if (chosen !== batch) return; // another one was opened meanwhile
    batch.jobs = body.jobs;
    if (!batch.built) buildTable(batch, body);
    say(batch.remaining, body.eta_seconds === null ? "" : t`about ${roughly(body.eta_seconds)} left`);
    for (const place of body.places) fill(batch, place);
    if (body.places.every(({ status }) => !["PENDING", "PROCESSING"].includes(status))) batch.done.add(offset);
    offset = body.next_offset;
  }
}

/** One axis to the right, the others down, together; a single axis is broken into lines by the style sheet. */
function buildTable(batch, body) {
  batch.built = true;
  const sizes = body.axes.map(({ count }) => count);
  const links = ["grid", "zip", "table"].map((what) => el("a", { class: "quiet", href: pathTo(body[`${what}_url`]), download: "" }, { grid: t`Sheet`, zip: t`Archive`, table: t`Table` }[what]));
  const total = Math.min(sizes.reduce((product, size) => product * size, 1), MOST_CELLS);
  const across = sizes.length > 1 ? sizes.at(-1) : null;
  const table = across ? asTable(batch, body, across, total) : asList(batch, body, Math.min(body.jobs, MOST_CELLS));
  batch.remaining = el("span", { class: "note" });
  parts.grid.replaceChildren(el("header", { class: "section-head" }, el("h3", {}, body.name ?? t`Batch`, " ", batch.remaining), el("p", {}, links)), el("div", { class: "batch-scroll" }, table));
}

function asTable(batch, body, across, total) {
  const columns = body.axes.at(-1);
  const head = el("tr", {}, el("td"), Array.from({ length: across }, (_, place) => el("th", { scope: "col" }, columns.values[place] ?? String(place + 1))));
  const lines = [];
  for (let start = 0; start < total; start += across) {
    const cells = Array.from({ length: across }, (_, place) => el("td", {}, cell(batch, start + place)));
    lines.push(el("tr", {}, el("th", { scope: "row" }, rowLabel(body.axes, start)), cells));
  }
  return el("table", {}, el("caption", {}, body.axes.map(({ field }) => field).join(" × ")), el("thead", {}, head), el("tbody", {}, lines));
}

function asList(batch, body, total) {
  const labels = body.axes[0]?.values ?? [];
  return el("ul", { class: "batch-cells" }, Array.from({ length: total }, (_, place) => el("li", {}, el("span", {}, labels[place] ?? String(place + 1)), cell(batch, place))));
}

function rowLabel(axes, place) {
  const found = [];
  let rest = Math.floor(place / axes.at(-1).count);
  for (const axis of axes.slice(0, -1).reverse()) {
    found.unshift(axis.values[rest % axis.count] ?? String((rest % axis.count) + 1));
    rest = Math.floor(rest / axis.count);
  }
  return found.join(", ");
}

function cell(batch, place) {
  const node = el("div", { class: "batch-cell", data: { place: String(place) } });
  batch.cells.set(place, node);
  return node;
}

function fill(batch, { place, status, images, prompt, error }) {
  const node = batch.cells.get(place);
  if (!node || node.dataset.status === (images[0]?.image_id ?? status)) return;
  node.dataset.status = images[0]?.image_id ?? status;
  if (!images.length) return node.replaceChildren(error && status === "FAILED" ? told(error.code, error.message) : PLACE_STATUS[status] ?? status.toLowerCase());
  const [{ image_id, thumbnail_url }] = images;
  node.replaceChildren(el("a", { href: `#/queue/${batch.id}?picture=${image_id}` }, el("img", { src: pathTo(thumbnail_url), alt: prompt, loading: "lazy" })));
}
