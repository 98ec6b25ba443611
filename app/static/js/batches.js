// Batches in the queue view: a list, and the grid of one with its axes as rows and columns, filled live.

import { get, post } from "./api.js";
import { pathTo } from "./base.js";
import { $, button, el, say } from "./dom.js";
import { plural } from "./format.js";
import { toast } from "./notices.js";
import { style } from "./router.js";

const POLL_MILLISECONDS = 2000;
const PAGE = 200; // places of one answer
const MOST_CELLS = 2000;
const parts = {};
let timer = null;
let chosen = null; // { id, cells: place → cell, done: first places of pages that will not change }

/** `root` is filled; `show` is called with the id in the address, or an empty string. */
export async function build(root) {
  await style("batches");
  parts.list = el("ul", { class: "rows" });
  parts.grid = el("div", { class: "batch-grid", hidden: true });
  root.append(el("header", { class: "section-head" }, el("h2", {}, "Batches")), parts.list, parts.grid);
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
    parts.list.replaceChildren(...batches.map(row));
    if (chosen) await showGrid(chosen);
  } catch (error) {
    if (chosen && error.status === 404) say(parts.grid, "There is no such batch.");
  }
  if (!$('main > [data-view="queue"]').hidden) timer = setTimeout(() => show(id), POLL_MILLISECONDS);
}

export function hide() {
  clearTimeout(timer);
  timer = null;
}

function row(batch) {
  const failed = batch.counts.FAILED ? `, ${batch.counts.FAILED} failed` : "";
  const act = (verb) => async () => {
    try {
      await post(`api/batches/${batch.batch_id}/${verb}`, verb === "retry-failed" ? {} : undefined);
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
      el("a", { class: "row-prompt", href: `#/queue/${batch.batch_id}` }, batch.name ?? plural(batch.jobs, "job")),
      el("p", { class: "facts" }, el("span", {}, `${batch.counts.COMPLETED} of ${batch.jobs}${failed}`), el("span", {}, batch.status.toLowerCase())),
      el("progress", { max: 100, value: batch.percent, "aria-label": "Progress" }),
    ),
    batch.status === "PAUSED" && button("Resume", null, act("resume")),
    running && button("Pause", null, act("pause")),
    batch.status !== "ENDED" && button("Cancel", "close", act("cancel")),
    batch.status === "ENDED" && batch.counts.FAILED > 0 && button("Retry failed", "retry", act("retry-failed")),
  );
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
    for (const place of body.places) fill(batch, place);
    if (body.places.every(({ status }) => !["PENDING", "PROCESSING"].includes(status))) batch.done.add(offset);
    offset = body.next_offset;
  }
}

/** One axis to the right, the others down, together; a single axis is broken into lines by the style sheet. */
function buildTable(batch, body) {
  batch.built = true;
  const sizes = body.axes.map(({ count }) => count);
  const links = ["grid", "zip", "table"].map((what) => el("a", { class: "quiet", href: pathTo(body[`${what}_url`]), download: "" }, { grid: "Sheet", zip: "Archive", table: "Table" }[what]));
  const total = Math.min(sizes.reduce((product, size) => product * size, 1), MOST_CELLS);
  const across = sizes.length > 1 ? sizes.at(-1) : null;
  const table = across ? asTable(batch, body, across, total) : asList(batch, body, Math.min(body.jobs, MOST_CELLS));
  parts.grid.replaceChildren(el("header", { class: "section-head" }, el("h3", {}, body.name ?? "Batch"), el("p", {}, links)), el("div", { class: "batch-scroll" }, table));
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
  if (!images.length) return node.replaceChildren(error && status === "FAILED" ? error.message : { PENDING: "", PROCESSING: "…", COMPLETED: "removed" }[status] ?? status.toLowerCase());
  const [{ image_id, thumbnail_url }] = images;
  node.replaceChildren(el("a", { href: `#/queue/${batch.id}?picture=${image_id}` }, el("img", { src: pathTo(thumbnail_url), alt: prompt, loading: "lazy" })));
}
