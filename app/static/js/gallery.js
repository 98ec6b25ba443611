// The gallery view: search and filters, the image grid, selection mode.

import { catalog } from "./catalog.js";
import { button, el, icon } from "./dom.js";
import { plural } from "./format.js";
import { announce } from "./notices.js";
import { openLightbox } from "./open-lightbox.js";
import { MergedPages } from "./pagination.js";
import { isPendingDelete, removal } from "./removal.js";
import { Selection } from "./selection.js";
import { statusPoll } from "./status-poll.js";
import { keyOf, tile } from "./tile.js";
import { VirtualGrid } from "./virtual-grid.js";

const SHOWS = {
  all: ["All", ["COMPLETED", "PROCESSING", "PENDING", "FAILED"]],
  pictures: ["Pictures", ["COMPLETED"]],
  progress: ["In progress", ["PROCESSING", "PENDING"]],
  failed: ["Failed", ["FAILED"]],
  cancelled: ["Cancelled", ["CANCELLED"]],
};
const DAYS = { 1: "The last day", 7: "The last week", 30: "The last month" };
const DAY_MILLISECONDS = 86_400_000;
const TYPING_MILLISECONDS = 250;

let pages = null;
let generation = 0; // of the query: responses to an older one are dropped
let everything = []; // as listed by the server, pending deletions included
let loading = false;
let seenState = null;
let shown = false;
const filter = { show: "all", search: "", model: "", media: "", days: "" };

const list = el("ul", { class: "grid", role: "list", "aria-label": "Pictures" });
const empty = el("div", { class: "nothing", hidden: true });
const fresh = el("button", { type: "button", class: "fresh", hidden: true, onclick: () => change({}) }, "Show what is new");
const grid = new VirtualGrid(list, { make: (item) => selection.attach(tile(item, open), item), key: keyOf, near: more });
const selection = new Selection(() => grid.items);

export function build(root) {
  const search = el("input", { type: "search", placeholder: "Search the prompts", "aria-label": "Search the prompts", maxlength: 500 });
  let typing = null;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ search: search.value.trim() }), TYPING_MILLISECONDS);
  });
  const segment = ([value, [label]]) =>
    el("label", {}, el("input", { type: "radio", name: "show", value, checked: value === filter.show, onchange: () => change({ show: value }) }), label);
  root.append(
    el(
      "header",
      { class: "view-head gallery-head" },
      el("h1", { id: "gallery-title", tabindex: "-1" }, "Gallery"),
      el("div", { class: "search" }, icon("search"), search),
      el("fieldset", { class: "segments", "aria-label": "Show" }, Object.entries(SHOWS).map(segment)),
      chooser("Model", "All models", () => catalog.models.map((model) => [model.id, model.name]), "model"),
      chooser("Kind", "Pictures and videos", () => [["image", "Pictures"], ["video", "Videos"]], "media", () => catalog.models.some((model) => model.media === "video")),
      chooser("When", "Any time", () => Object.entries(DAYS), "days"),
      button("Select", "select", () => selection.toggleMode(), { "aria-pressed": "false", id: "select-mode" }),
    ),
    list,
    empty,
    fresh,
    selection.bar,
  );
  removal.changed.on((what, ids) => {
    if (what === "deleted") everything = everything.filter((item) => !ids.includes(item.image_id));
    grid.set(everything.filter((item) => !isPendingDelete(item.image_id)));
    renderEmpty(null);
  });
  statusPoll.updated.on(onStatus);
}

export function show() {
  shown = true;
  selection.leave();
  if (!pages || seenState !== stateOf(statusPoll.last)) reload();
  else grid.draw();
}

export function hide() {
  shown = false;
  selection.leave();
}

function chooser(label, all, options, name, offered = () => true) {
  const select = el("select", { "aria-label": label, onchange: (event) => change({ [name]: event.target.value }) });
  const box = el("span", { class: "select" }, select);
  const fill = () => {
    box.hidden = !offered();
    select.replaceChildren(el("option", { value: "" }, all), ...options().map(([value, text]) => el("option", { value }, text)));
    select.value = filter[name];
  };
  catalog.changed.on(fill);
  fill();
  return box;
}

function change(part) {
  Object.assign(filter, part);
  scrollTo(0, 0);
  reload();
}

async function reload() {
  const mine = ++generation;
  seenState = stateOf(statusPoll.last);
  fresh.hidden = true;
  const { show: what, days, ...rest } = filter;
  const since = days && new Date(Date.now() - days * DAY_MILLISECONDS).toISOString();
  pages = new MergedPages({ ...rest, since, statuses: SHOWS[what][1] });
  everything = [];
  loading = false;
  await more(mine, true);
}

async function more(mine = generation, first = false) {
  if (loading || !pages || (pages.ended && !first)) return;
  loading = true;
  try {
    const items = await pages.next();
    if (mine !== generation) return;
    everything.push(...items);
    const visible = items.filter((item) => !isPendingDelete(item.image_id));
    if (first) grid.set(visible);
    else grid.append(visible);
    if (first && filter.search) announce(visible.length ? `${plural(visible.length, "result")}${pages.ended ? "" : " or more"}` : "Nothing found");
    renderEmpty(null);
  } catch (error) {
    if (mine === generation) renderEmpty(error);
  } finally {
    if (mine === generation) loading = false;
  }
}

function renderEmpty(error) {
  empty.hidden = grid.items.length > 0;
  if (empty.hidden) return;
  const isFiltered = filter.search || filter.model || filter.media || filter.days || filter.show !== "all";
  const words = error ? error.message : isFiltered ? "Nothing matches." : "No pictures yet.";
  empty.replaceChildren(
    el("span", { class: "noise", "aria-hidden": "true" }),
    el("p", {}, words),
    error ? button("Try again", "retry", reload) : isFiltered ? "" : el("a", { class: "quiet strong", href: "#/" }, "Make the first one"),
  );
}

function open(item, event) {
  if (selection.takes(item, event)) return;
  openLightbox(grid.items, grid.items.indexOf(item), more);
}

const stateOf = (status) => (status?.queue ? JSON.stringify([status.queue, status.images?.count]) : seenState);

/** The server's counts changed: reload when scrolled to the top, else show a button that reloads. */
function onStatus(status) {
  if (!shown || !pages || stateOf(status) === seenState) return;
  const busy = scrollY > 300 || selection.active || document.querySelector("dialog[open]") || list.contains(document.activeElement);
  if (!busy) reload();
  else fresh.hidden = false;
}
