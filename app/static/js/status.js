// The status view for administrators: readiness checks, storage, charts of the last minutes, speed of the models.

import { get } from "./api.js";
import { pathTo } from "./base.js";
import { Chart } from "./chart.js";
import { el, say } from "./dom.js";
import { bytes, number, seconds } from "./format.js";
import { statusPoll } from "./status-poll.js";
import { t } from "./strings.js";

const SPEEDS_EVERY = 6; // polls
const CHECKS = { database: t`Database`, workers: t`Workers`, devices: t`Devices`, disk: t`Disk`, server: t`Server` };

const sum = (list, name) => list.reduce((total, one) => total + (one[name] ?? 0), 0);
const way = (name) => el("a", { href: pathTo(name) }, pathTo(name));
const whole = (value) => String(Math.round(value));

function finishedLately(now, at, samples) {
  const before = samples.findLast((sample) => sample.at <= at - 60_000) ?? samples[0];
  return now.queue && before.status.queue ? Math.max(0, now.queue.COMPLETED - before.status.queue.COMPLETED) : null;
}

/** Charts without data from the server stay hidden. */
const charts = [
  new Chart(t`Jobs waiting and running`, { read: (now) => (now.queue ? (now.queue.PENDING ?? 0) + (now.queue.PROCESSING ?? 0) : null), word: whole, floor: 0 }),
  new Chart(t`Finished in the last minute`, { read: finishedLately, word: whole }),
  new Chart(t`Memory of the workers`, { read: (now) => (now.workers.length ? sum(now.workers, "rss_bytes") : null), word: bytes }),
  new Chart(t`GPU memory`, { read: (now) => sum(now.workers, "vram_bytes") || null, word: bytes }),
  new Chart(t`Processor`, { read: (now) => now.cpu?.percent ?? now.cpu_percent ?? null, word: (value) => `${Math.round(value)} %`, floor: 100 }),
  new Chart(t`Free on the disk`, { read: (now) => now.disk?.free_bytes ?? null, word: bytes }),
];

const parts = { verdict: el("p", { class: "verdict" }), checks: el("ul", { class: "checks" }), facts: el("dl", { class: "counts" }), speeds: el("tbody") };
let polls = 0;
let shown = false;

export function build(root) {
  const head = (words) => el("th", { scope: "col" }, words);
  root.append(
    el("header", { class: "view-head" }, el("h1", { id: "status-title", tabindex: "-1" }, t`Status`), parts.verdict),
    parts.checks,
    parts.facts,
    el("section", { class: "charts", "aria-label": t`The last minutes` }, charts.map((chart) => chart.node)),
    el(
      "section",
      { class: "speeds", "aria-label": t`Speed of the models` },
      el("header", { class: "section-head" }, el("h2", {}, t`Speed`)),
      el("section", { class: "scroll", tabindex: "0", "aria-label": t`Speed by model and size` }, el("table", {}, el("thead", {}, el("tr", {}, [t`Model`, t`Size`, t`Steps`, t`A picture takes`, t`Loading takes`].map(head))), parts.speeds)),
    ),
    el("p", { class: "note" }, t`For monitoring: `, way("metrics"), ", ", way("status"), t` and `, way("readyz"), t`; API documentation: `, way("docs"), "."),
  );
  statusPoll.updated.on((status) => shown && render(status));
}

export function show() {
  shown = true;
  polls = 0;
  render(statusPoll.last);
}

export function hide() {
  shown = false;
}

function render(status) {
  if (!status) {
    say(parts.verdict, status === null ? t`The server does not respond` : "");
    parts.verdict.dataset.state = "bad";
    return;
  }
  say(parts.verdict, status.ready ? t`Ready for work` : t`Not ready for work`);
  parts.verdict.dataset.state = status.ready ? "good" : "bad";
  parts.checks.replaceChildren(...Object.entries(status.checks).map(check));
  parts.facts.replaceChildren(...facts(status).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  for (const chart of charts) chart.draw(statusPoll.samples);
  if (polls++ % SPEEDS_EVERY === 0) refreshSpeeds();
}

const check = ([name, state]) =>
  el("li", { data: { state: state === "ok" ? "good" : "bad" } }, el("span", { class: "dot", "aria-hidden": "true" }), el("span", {}, CHECKS[name] ?? name), state === "ok" ? el("span", { class: "unseen" }, t`fine`) : el("em", {}, state));

function facts(status) {
  const { images, disk, versions = {}, uptime_seconds: uptime } = status;
  return [
    uptime !== undefined && [t`Up for`, seconds(uptime)],
    images && [t`Pictures`, number(images.count)],
    images && [t`They take`, bytes(images.bytes)],
    disk?.free_bytes != null && [t`Disk free`, bytes(disk.free_bytes)],
    disk?.percent != null && [t`Disk used`, `${Math.round(disk.percent)} %`],
    [t`Workers`, String(status.workers.length)],
    versions.cyberimage && [t`Version`, versions.cyberimage],
  ].filter(Boolean);
}

async function refreshSpeeds() {
  const { models } = await get("api/queue").catch(() => ({ models: null }));
  if (!models) return;
  const rows = Object.entries(models).flatMap(([id, { load_seconds: load, seconds: speeds }]) =>
    Object.entries(speeds).map(([bucket, value]) => {
      const [width, height, steps, frames] = bucket.split("x");
      const size = width === "0" ? t`the model’s own` : `${width} × ${height}`;
      return [id, frames ? t`${size}, ${frames} frames` : size, steps, seconds(value), load === null ? "–" : seconds(load)];
    }),
  );
  const row = ([id, ...cells]) => el("tr", {}, el("th", { scope: "row" }, id), cells.map((cell) => el("td", {}, cell)));
  parts.speeds.replaceChildren(...rows.map(row));
  parts.speeds.closest("section").hidden = rows.length === 0;
}
