// The stage: the big picture, the other jobs of this tab as a strip, the latest pictures of the gallery below.

import { images } from "./api.js";
import { catalog } from "./catalog.js";
import { $, el, say, setVars } from "./dom.js";
import { picturesOf, showHero } from "./hero.js";
import { isActive, jobs } from "./jobs.js";
import { announce } from "./notices.js";
import { openLightbox } from "./open.js";
import { pulse } from "./pulse.js";
import { isDoomed, removal } from "./removal.js";
import { viewTitle } from "./router.js";
import { seedWasUsed } from "./seed.js";
import { tile } from "./tile.js";
import { standing } from "./words.js";

const LATEST = 18;
const minis = new Map(); // job id → its element in the strip
let picked = null;
let latest = [];
let published = null;

export function startStage() {
  jobs.changed.on(hear);
  catalog.changed.on(render);
  removal.changed.on(hearRemoval);
  pulse.beat.on((status) => {
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

/** The one picked by hand, else the one that runs, else the newest. */
function heroJob(list) {
  return list.find((job) => job.job_id === picked) ?? list.find((job) => job.status === "PROCESSING") ?? list.at(-1);
}

function hear(job, before) {
  if (job && before === null && isActive(job)) {
    picked = null;
    if (innerWidth < 960) requestAnimationFrame(() => $("#hero").scrollIntoView({ block: "center", behavior: "smooth" }));
  }
  if (job && before && before !== job.status) tellEnd(job);
  render();
}

function tellEnd(job) {
  if (job.status === "COMPLETED") {
    seedWasUsed(job.settings.seed);
    announce(`Finished: ${job.prompt.slice(0, 80)}`);
    refreshLatest();
    if (document.hidden) document.title = "✓ Finished · CyberImage";
  } else if (job.status === "FAILED") announce(`Failed: ${job.error?.message ?? ""}`);
  else if (job.status === "CANCELLED") announce("Cancelled.");
  else if (job.status === "PROCESSING") announce("It is being made now.");
}

function render() {
  const list = visible();
  const hero = heroJob(list);
  showHero(hero);
  $("#session").hidden = list.length < 2;
  renderStrip(list, hero);
  const running = list.find((job) => job.status === "PROCESSING");
  if (!document.hidden) document.title = running ? `${running.progress.percent}% · CyberImage` : viewTitle();
}

function renderStrip(list, hero) {
  for (const [id, node] of minis) {
    if (list.some((job) => job.job_id === id)) continue;
    node.remove();
    minis.delete(id);
  }
  for (const job of list) {
    if (!minis.has(job.job_id)) {
      minis.set(job.job_id, mini(job));
      $("#strip").prepend(minis.get(job.job_id));
    }
    patchMini(minis.get(job.job_id), job, job === hero);
  }
}

function mini(job) {
  const pick = () => {
    picked = job.job_id;
    render();
  };
  return el("li", {}, el("button", { type: "button", class: "mini", onclick: pick }, el("img", { alt: "", hidden: true }), el("span", { class: "mini-words" })));
}

function patchMini(node, job, isHero) {
  const [button, image, words] = [$("button", node), $("img", node), $(".mini-words", node)];
  const source = picturesOf(job)[0]?.thumbnail_url ?? job.preview ?? null;
  image.hidden = !source;
  if (source && image.getAttribute("src") !== source) image.src = source;
  button.dataset.status = job.status;
  button.setAttribute("aria-pressed", String(isHero));
  button.setAttribute("aria-label", `${job.prompt.slice(0, 100)}: ${standing(job)}`);
  setVars(button, { "--progress": isActive(job) ? job.progress.percent / 100 : 0 });
  say(words, job.status === "COMPLETED" ? "" : job.status === "PROCESSING" ? `${job.progress.percent}%` : standing(job));
}

async function refreshLatest() {
  try {
    latest = (await images({ limit: LATEST })).images;
    renderLatest();
  } catch {
    /* the banner says that nobody answers; what is shown stays */
  }
}

function renderLatest() {
  const items = latest.filter((item) => !isDoomed(item.image_id));
  $("#latest").hidden = items.length === 0;
  const open = (item) => openLightbox(items, items.indexOf(item));
  $("#latest-tiles").replaceChildren(...items.map((item) => el("li", {}, tile(item, open))));
}

function hearRemoval(what, ids) {
  if (what === "gone") {
    for (const job of jobs.list()) {
      if (!job.images?.some((image) => ids.includes(image.image_id))) continue;
      job.images = job.images.filter((image) => !ids.includes(image.image_id));
      if (!job.images.length) jobs.remove(job.job_id);
    }
    refreshLatest();
  }
  renderLatest();
  render();
}
