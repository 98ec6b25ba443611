// The gallery view: search and filters above, the wall below, selection on request.

import { catalog } from "./catalog.js";
import { button, el, icon } from "./dom.js";
import { Feed } from "./feed.js";
import { plural } from "./format.js";
import { announce } from "./notices.js";
import { openLightbox } from "./open.js";
import { pulse } from "./pulse.js";
import { isDoomed, removal } from "./removal.js";
import { Selection } from "./selection.js";
import { keyOf, tile } from "./tile.js";
import { Wall } from "./wall.js";

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

let feed = null;
let generation = 0; // answers to an older question are not shown
let everything = []; // as the server lists it, those that are being deleted included
let loading = false;
let news = null;
let shown = false;
const filter = { show: "all", search: "", model: "", media: "", days: "" };

const list = el("ul", { class: "wall", role: "list", "aria-label": "Pictures" });
const empty = el("div", { class: "nothing", hidden: true });
const fresh = el("button", { type: "button", class: "fresh", hidden: true, onclick: () => change({}) }, "Show what is new");
const wall = new Wall(list, { make: (item) => selection.dress(tile(item, open), item), key: keyOf, near: more });
const selection = new Selection(() => wall.items);

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
    if (what === "gone") everything = everything.filter((item) => !ids.includes(item.image_id));
    wall.set(everything.filter((item) => !isDoomed(item.image_id)));
    tellEmpty(null);
  });
  pulse.beat.on(hear);
}

export function show() {
  shown = true;
  selection.leave();
  if (!feed || news !== newsOf(pulse.last)) reload();
  else wall.draw();
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
  news = newsOf(pulse.last);
  fresh.hidden = true;
  const { show: what, days, ...rest } = filter;
  const since = days && new Date(Date.now() - days * DAY_MILLISECONDS).toISOString();
  feed = new Feed({ ...rest, since, statuses: SHOWS[what][1] });
  everything = [];
  loading = false;
  await more(mine, true);
}

async function more(mine = generation, first = false) {
  if (loading || !feed || (feed.ended && !first)) return;
  loading = true;
  try {
    const items = await feed.next();
    if (mine !== generation) return;
    everything.push(...items);
    const visible = items.filter((item) => !isDoomed(item.image_id));
    if (first) wall.set(visible);
    else wall.append(visible);
    if (first && filter.search) announce(visible.length ? `${plural(visible.length, "result")}${feed.ended ? "" : " or more"}` : "Nothing found");
    tellEmpty(null);
  } catch (error) {
    if (mine === generation) tellEmpty(error);
  } finally {
    if (mine === generation) loading = false;
  }
}

function tellEmpty(error) {
  empty.hidden = wall.items.length > 0;
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
  openLightbox(wall.items, wall.items.indexOf(item), more);
}

const newsOf = (status) => (status?.queue ? JSON.stringify([status.queue, status.images?.count]) : news);

/** Something changed on the server: show it at once to somebody at the top, offer it to somebody further down. */
function hear(status) {
  if (!shown || !feed || newsOf(status) === news) return;
  const busy = scrollY > 300 || selection.active || document.querySelector("dialog[open]") || list.contains(document.activeElement);
  if (!busy) reload();
  else fresh.hidden = false;
}
