// The gallery view: search and filters, which are in its address, the wall of pictures by days, and the bin.

import { get } from "./api.js";
import { catalog } from "./catalog.js";
import { button, el, icon, say } from "./dom.js";
import { favorites, learn } from "./favorites.js";
import { plural } from "./format.js";
import { DEFAULTS, fromAddress, hasPictures, isFiltered, isOfPictures, selectionFilter, toAddress, toQuery } from "./gallery-filter.js";
import { announce } from "./notices.js";
import { openLightbox } from "./open-lightbox.js";
import { MergedPages } from "./pagination.js";
import { isPendingDelete, removal } from "./removal.js";
import { subRoute } from "./router.js";
import { Selection } from "./selection.js";
import { statusPoll } from "./status-poll.js";
import { locale, t } from "./strings.js";
import { keyOf, tile } from "./tile.js";
import { VirtualGrid } from "./virtual-grid.js";

const SHOWS = {
  all: [t`All`, ["COMPLETED", "PROCESSING", "PENDING", "FAILED"]],
  pictures: [t`Pictures`, ["COMPLETED"]],
  favorites: [t`Favourites`, ["COMPLETED"]],
  progress: [t`In progress`, ["PROCESSING", "PENDING"]],
  failed: [t`Failed`, ["FAILED"]],
  cancelled: [t`Cancelled`, ["CANCELLED"]],
  bin: [t`Bin`, ["COMPLETED"]],
};
const SORTS = { newest: t`Newest first`, oldest: t`Oldest first` };
const TYPING_MILLISECONDS = 250;
const DAY = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

let pages = null;
let generation = 0; // of the query: responses to an older one are dropped
let everything = []; // as listed by the server, pending deletions included
let loading = false;
let emptying = false; // all that match the filter are being deleted
let seenState = null;
let typing = null; // the timer of what is being typed
let typed = null; // returns it, while it is not in the filter yet
let shown = false;
let filter = { ...DEFAULTS };
const controls = []; // functions that show the filter's present values

const list = el("ul", { class: "grid", "aria-label": t`Pictures` });
const empty = el("div", { class: "nothing", hidden: true });
const fresh = el("button", { type: "button", class: "fresh", hidden: true, onclick: () => change({}) }, t`Show what is new`);
const total = el("p", { class: "gallery-total", role: "status" });
const grid = new VirtualGrid(list, { make: (item) => selection.attach(tile(item, open), item), key: keyOf, near: more, heading: dayOf });
const selection = new Selection({ grid, filter: () => selectionFilter(filter), inBin: () => filter.show === "bin", total: count });

export function build(root) {
  const search = el("input", { type: "search", placeholder: t`Search: words of the prompt, in any order`, "aria-label": t`Search the prompts`, maxlength: 500 });
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typed = () => search.value.trim();
    typing = setTimeout(() => change({}), TYPING_MILLISECONDS);
  });
  controls.push(() => document.activeElement === search || (search.value = filter.search));
  root.append(
    el(
      "header",
      { class: "view-head gallery-head" },
      el("h1", { id: "gallery-title", tabindex: "-1" }, t`Gallery`),
      el("div", { class: "search" }, icon("search"), search),
      el("fieldset", { class: "segments" }, el("legend", { class: "unseen" }, t`Show`), Object.entries(SHOWS).map(segment)),
      button(t`Select`, "select", () => selection.toggleMode(), { "aria-pressed": "false", id: "select-mode" }),
    ),
    el(
      "div",
      { class: "gallery-filters" },
      chooser(t`Model`, t`All models`, () => catalog.models.map((model) => [model.id, model.name]), "model"),
      chooser(t`Kind`, t`Pictures and videos`, () => [["image", t`Pictures`], ["video", t`Videos`]], "media", () => catalog.models.some((model) => model.media === "video")),
      chooser(t`When`, t`Any time`, () => [["1", t`The last day`], ["7", t`The last week`], ["30", t`The last month`]], "days"),
      chooser(t`Order`, null, () => Object.entries(SORTS), "sort"),
      tagChooser(),
      el("label", {}, t`Up to`, input(t`Up to this day`, "date", "until")),
      input(t`Seed`, "number", "seed", { min: 0, placeholder: t`Seed`, inputmode: "numeric" }),
      clear,
      total,
    ),
    list,
    empty,
    fresh,
    selection.bar,
  );
  removal.changed.on(onRemoval);
  favorites.changed.on((ids, favorite) => {
    for (const item of everything) if (ids.has(item.image_id)) item.favorite = favorite;
  });
  statusPoll.updated.on(onStatus);
  filter = fromAddress(subRoute().parameters);
  showControls();
}

const clear = button(t`Clear filters`, "close", () => change({ ...DEFAULTS, show: filter.show }), { hidden: true });

export function show() {
  shown = true;
  selection.leave();
  if (!moved() && (!pages || seenState !== stateOf(statusPoll.last))) reload();
  else grid.draw();
}

export function hide() {
  shown = false;
  selection.leave();
}

/** The address changed; whether the filter did. */
export function moved() {
  const next = fromAddress(subRoute().parameters);
  if (JSON.stringify(next) === JSON.stringify(filter)) return false;
  filter = next;
  showControls();
  selection.leave();
  reload();
  return true;
}

function segment([value, [label]]) {
  const radio = el("input", { type: "radio", name: "show", value, onchange: () => change({ show: value }) });
  controls.push(() => (radio.checked = filter.show === value));
  return el("label", {}, radio, label);
}

function chooser(label, all, options, name, offered = () => true) {
  const select = el("select", { "aria-label": label, onchange: (event) => change({ [name]: event.target.value }) });
  const box = el("span", { class: "select" }, select);
  const fill = () => {
    box.hidden = !offered();
    select.replaceChildren(...(all ? [el("option", { value: "" }, all)] : []), ...options().map(([value, text]) => el("option", { value }, text)));
    select.value = filter[name];
  };
  catalog.changed.on(fill);
  controls.push(fill);
  return box;
}

/** The tags that there are, read when it is opened. */
function tagChooser() {
  let tags = [];
  const select = el("select", { "aria-label": t`Tag`, onchange: () => change({ tag: select.value }) });
  const fill = () => {
    const known = tags.some(({ tag }) => tag === filter.tag) ? tags : [...(filter.tag ? [{ tag: filter.tag }] : []), ...tags];
    select.replaceChildren(el("option", { value: "" }, t`Any tag`), ...known.map(({ tag, images }) => el("option", { value: tag }, images ? `${tag} (${images})` : tag)));
    select.value = filter.tag;
  };
  const read = async () => {
    tags = (await get("api/tags").catch(() => ({ tags }))).tags;
    fill();
  };
  for (const name of ["pointerdown", "focus"]) select.addEventListener(name, read);
  controls.push(fill);
  return el("span", { class: "select" }, select);
}

function input(label, type, name, attributes = {}) {
  const node = el("input", { type, "aria-label": label, title: name === "until" ? t`Show this day, and what is older` : null, onchange: () => change({ [name]: node.value }), ...attributes });
  controls.push(() => (node.value = filter[name]));
  return node;
}

function showControls() {
  for (const control of controls) control();
  clear.hidden = !isFiltered(filter);
  list.dataset.bin = String(filter.show === "bin");
}

function change(part) {
  clearTimeout(typing);
  filter = { ...filter, ...(typed ? { search: typed() } : {}), ...part };
  typed = null;
  history.replaceState(history.state, "", toAddress(filter));
  showControls();
  selection.leave();
  scrollTo(0, 0);
  reload();
}

async function reload() {
  const mine = ++generation;
  seenState = stateOf(statusPoll.last);
  fresh.hidden = true;
  const statuses = isOfPictures(filter) ? ["COMPLETED"] : SHOWS[filter.show][1];
  pages = new MergedPages({ ...toQuery(filter), statuses });
  loading = false;
  showTotal(mine);
  await more(mine, true);
}

async function more(mine = generation, first = false) {
  if (loading || !pages || (pages.ended && !first)) return;
  loading = true;
  try {
    const items = await pages.next();
    if (mine !== generation) return;
    learn(items);
    everything = first ? items : [...everything, ...items];
    const visible = items.filter((item) => !isHidden(item));
    if (first) grid.set(visible);
    else grid.append(visible);
    if (first && filter.search) announce(visible.length ? `${plural(visible.length, "result")}${pages.ended ? "" : t` or more`}` : t`Nothing found`);
    renderEmpty(null);
  } catch (error) {
    if (mine === generation) renderEmpty(error);
  } finally {
    if (mine === generation) loading = false;
  }
}

/** In the bin, what was restored or removed; else what was deleted. */
const isHidden = (item) => (filter.show === "bin" ? gone.has(item.image_id) : isPendingDelete(item.image_id));
const gone = new Set();

function onRemoval(what, ids) {
  if (what === "emptied") {
    generation++; // what is still being listed is deleted too
    loading = emptying = true;
    return;
  }
  if (emptying && what !== "hidden") {
    emptying = false;
    return reload();
  }
  if (["restored", "purged"].includes(what)) for (const id of ids) gone.add(id);
  else for (const id of ids) gone.delete(id);
  const listed = new Set(everything.map((item) => item.image_id));
  if (shown && what === "restored" && filter.show !== "bin" && ids.some((id) => !listed.has(id))) return reload();
  grid.set(everything.filter((item) => !isHidden(item)));
  renderEmpty(null);
  if (what !== "hidden") showTotal(generation);
}

/** How many pictures match. */
async function count() {
  if (!hasPictures(filter)) throw new Error(t`There are no pictures in this view.`);
  const { total: found } = await get(`api/images?${new URLSearchParams({ ...toQuery(filter), limit: 1, count: 1 })}`);
  return found;
}

async function showTotal(mine) {
  if (!hasPictures(filter)) return say(total, "");
  const found = await count().catch(() => null);
  if (mine === generation) say(total, found === null ? "" : `${plural(found, "picture")}${filter.show === "bin" ? t`, until they are removed` : ""}`);
}

function renderEmpty(error) {
  empty.hidden = grid.items.length > 0;
  if (empty.hidden) return;
  const narrowed = isFiltered(filter) || !["all", "bin", "favorites"].includes(filter.show);
  const none = { bin: t`The bin is empty.`, favorites: t`No favourites yet. Press F on a picture, or its heart.` }[filter.show] ?? t`No pictures yet.`;
  const way = narrowed ? button(t`Clear filters`, "close", () => change({ ...DEFAULTS })) : filter.show === "all" ? el("a", { class: "quiet strong", href: "#/" }, t`Make the first one`) : "";
  empty.replaceChildren(
    el("span", { class: "noise", "aria-hidden": "true" }),
    el("p", {}, error ? error.message : narrowed ? t`Nothing matches.` : none),
    error ? button(t`Try again`, "retry", reload) : way,
  );
}

function open(item, event) {
  if (selection.takes(item, event)) return;
  const at = grid.items.findIndex((one) => keyOf(one) === keyOf(item));
  openLightbox(grid.items, at, pages.ended ? null : more);
}

/** The day of an item, as its heading. */
function dayOf(item) {
  const day = new Date(item.deleted_at ?? item.created_at);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(day).setHours(0, 0, 0, 0)) / 86_400_000);
  const name = days === 0 ? t`Today` : days === 1 ? t`Yesterday` : DAY.format(day);
  return item.deleted_at ? t`Deleted ${days < 2 ? name.toLowerCase() : name}` : name;
}

const stateOf = (status) => (status?.queue ? JSON.stringify([status.queue, status.images?.count]) : seenState);

/** The server's counts changed: reload when scrolled to the top, else show a button that reloads. */
function onStatus(status) {
  if (!shown || !pages || stateOf(status) === seenState) return;
  const busy = scrollY > 300 || selection.active || document.querySelector("dialog[open]") || list.contains(document.activeElement);
  if (!busy) reload();
  else fresh.hidden = false;
}
