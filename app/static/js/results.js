// The results column: the selected job's panel, a strip of this tab's jobs, the latest images of the gallery.

import { images } from "./api.js";
import { catalog } from "./catalog.js";
import { $, el, say, setVars } from "./dom.js";
import { learn } from "./favorites.js";
import { picturesOf, showJobPanel } from "./job-panel.js";
import { statusText } from "./job-text.js";
import { isActive, jobs } from "./jobs.js";
import { announce } from "./notices.js";
import { openLightbox } from "./open-lightbox.js";
import { isPendingDelete, removal } from "./removal.js";
import { viewTitle } from "./router.js";
import { seedWasUsed } from "./seed.js";
import { statusPoll } from "./status-poll.js";
import { t, told } from "./strings.js";
import { tile } from "./tile.js";

const LATEST = 18;
const thumbnails = new Map(); // job id → its element in the strip
let selectedId = null; // chosen by the user, until the next one is sent
let stagedId = null; // on the stage otherwise
let latest = [];
let published = null;
let drawn = "";

export function startResults() {
  jobs.changed.on(onJobChanged);
  catalog.changed.on(render);
  removal.changed.on(onRemoval);
  statusPoll.updated.on((status) => {
    if (!status?.images || status.images.count === published) return;
    published = status.images.count;
    refreshLatest();
  });
  setInterval(() => jobs.list().some(isActive) && render(), 1000); // the remaining time
  document.addEventListener("visibilitychange", () => !document.hidden && (document.title = viewTitle()));
  render();
  refreshLatest();
}

const visible = () => jobs.list().filter((job) => job.status !== "COMPLETED" || picturesOf(job).length);

/** The job selected by the user, else the staged one, else the running one, else the newest. */
function selectedJob(list) {
  const by = (id) => list.find((job) => job.job_id === id);
  return by(selectedId) ?? by(stagedId) ?? list.find((job) => job.status === "PROCESSING") ?? list.at(-1);
}

/** What has ended stays large until the next one ends; only the first of a series is shown while it runs. */
function onJobChanged(job, before) {
  if (job && before && before !== job.status && !isActive(job)) stagedId = job.job_id;
  if (job && before === null && isActive(job)) {
    selectedId = null;
    if (!jobs.list().some((other) => other !== job && isActive(other))) stagedId = job.job_id;
    $("#strip").scrollTo({ left: 0 });
    if (innerWidth < 960) requestAnimationFrame(() => $("#job-panel").scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth" }));
  }
  if (job && before && before !== job.status) announceEnd(job);
  render();
}

function announceEnd(job) {
  if (job.status === "COMPLETED") {
    if ((job.settings?.seed ?? null) !== null) seedWasUsed(job.settings.seed);
    announce(t`Finished: ${job.prompt.slice(0, 80)}`);
    refreshLatest();
    if (document.hidden) document.title = t`✓ Finished · CyberImage`;
  } else if (job.status === "FAILED") announce(t`Failed: ${job.error ? told(job.error.code, job.error.message) : ""}`);
  else if (job.status === "CANCELLED") announce(t`Cancelled.`);
  else if (job.status === "PROCESSING") announce(t`It is being made now.`);
}

function render() {
  const list = visible();
  const selected = selectedJob(list);
  showJobPanel(selected);
  $("#session").hidden = list.length < 2;
  renderStrip(list, selected);
  const running = list.find((job) => job.status === "PROCESSING");
  if (!document.hidden) document.title = running ? `${running.progress.percent}% · CyberImage` : viewTitle();
}

function renderStrip(list, selected) {
  for (const [id, node] of thumbnails) {
    if (list.some((job) => job.job_id === id)) continue;
    node.remove();
    thumbnails.delete(id);
  }
  for (const job of list) {
    if (!thumbnails.has(job.job_id)) {
      thumbnails.set(job.job_id, thumbnail(job));
      $("#strip").prepend(thumbnails.get(job.job_id));
    }
    patchThumbnail(thumbnails.get(job.job_id), job, job === selected);
  }
}

function thumbnail(job) {
  const select = () => {
    selectedId = job.job_id;
    render();
  };
  return el("li", {}, el("button", { type: "button", class: "strip-item", onclick: select }, el("img", { src: "data:,", alt: "", hidden: true }), el("span", { class: "strip-text" })));
}

function patchThumbnail(node, job, isSelected) {
  const [button, image, words] = [$("button", node), $("img", node), $(".strip-text", node)];
  const source = picturesOf(job)[0]?.thumbnail_url ?? job.preview ?? null;
  image.hidden = !source;
  if (source && image.getAttribute("src") !== source) image.src = source;
  button.dataset.status = job.status;
  button.setAttribute("aria-pressed", String(isSelected));
  button.setAttribute("aria-label", `${job.prompt.slice(0, 100)}: ${statusText(job)}`);
  setVars(button, { "--progress": isActive(job) ? job.progress.percent / 100 : 0 });
  say(words, job.status === "COMPLETED" ? "" : job.status === "PROCESSING" ? `${job.progress.percent}%` : statusText(job));
}

async function refreshLatest() {
  try {
    latest = (await images({ limit: LATEST })).images;
    learn(latest);
    renderLatest();
  } catch {
    /* the banner reports the error; the list keeps its contents */
  }
}

function renderLatest() {
  const items = latest.filter((item) => !isPendingDelete(item.image_id));
  $("#latest").hidden = items.length === 0;
  const open = (item) => openLightbox(items, items.indexOf(item));
  const shown = items.map(({ image_id: id }) => id).join();
  if (shown === drawn) return; // pictures that are there are not drawn again
  drawn = shown;
  $("#latest-tiles").replaceChildren(...items.map((item) => el("li", {}, tile(item, open))));
}

function onRemoval(what) {
  if (what !== "hidden") refreshLatest();
  renderLatest();
  render();
}
