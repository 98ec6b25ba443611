// Hash router: shows one view at a time. Views other than the first are imported when they are first opened.

import { pathTo } from "./base.js";
import { $, $$, button, el } from "./dom.js";
import { openAddressed } from "./open-lightbox.js";
import { statusPoll } from "./status-poll.js";
import { t } from "./strings.js";

const LAZY = { gallery: "./gallery.js", queue: "./queue.js", status: "./status.js", models: "./models.js", keys: "./keys.js" };
const STYLESHEETS = { gallery: ["gallery"], queue: ["queue"], status: ["queue", "status"], models: ["queue", "models"], keys: ["queue", "keys"] };
const TITLES = { create: "CyberImage", gallery: t`Gallery · CyberImage`, queue: t`Queue · CyberImage`, status: t`Status · CyberImage`, models: t`Models · CyberImage`, keys: t`Keys · CyberImage` };

const opened = new Map(); // view → its module: show() and hide()
const failed = new Set(); // views whose module could not be loaded
const places = new Map(); // history entry → how far it was scrolled
let current = "create";
let entry = 0; // of the history: its number in history.state
let scrolled = 0; // where the current entry was left: a shorter view scrolls up before its place can be read

export const currentView = () => current;
export const viewTitle = () => TITLES[current];

export function startRouting() {
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => (scrolled = scrollY), { passive: true });
  addEventListener("hashchange", route);
  statusPoll.updated.on((status) => status && failed.has(current) && show(current));
  route(null);
}

/** The part of the hash after the view: `abc` of `#/gallery/abc?tag=x`, and its parameters. */
export function subRoute() {
  const [path, query = ""] = location.hash.slice(2).split("?");
  return { rest: path.split("/")[1] ?? "", parameters: new URLSearchParams(query) };
}

const viewOf = (hash) => {
  const name = hash.slice(2).split(/[/?]/)[0];
  return name in LAZY && $(`main > [data-view="${name}"]`) ? name : "create";
};

async function route(event) {
  if (location.hash && !location.hash.startsWith("#/")) return; // an ordinary anchor
  const view = viewOf(location.hash);
  if (event && view === current && (view === "create" || opened.has(view))) {
    opened.get(view)?.moved?.();
    return openAddressed();
  }
  places.set(entry, scrolled);
  const known = history.state?.entry ?? null; // of an entry that was left, and is come back to
  entry = known ?? Date.now();
  if (known === null) history.replaceState({ ...history.state, entry }, "");
  opened.get(current)?.hide?.();
  current = view;
  document.title = TITLES[view];
  for (const section of $$("main > .view")) section.hidden = section.dataset.view !== view;
  for (const link of $$(".tabs a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view in LAZY) await show(view);
  openAddressed();
  if (event && current === view) {
    const place = (known !== null && places.get(known)) || 0;
    scrollTo({ top: place, behavior: "instant" });
    if (place) return;
    const typing = view === "create" && matchMedia("(pointer: fine)").matches; // do not open an on-screen keyboard
    $(typing ? "#prompt" : `main > [data-view="${view}"] h1`)?.focus({ preventScroll: true });
  }
}

async function show(view) {
  if (!opened.has(view) && !(await load(view))) return;
  if (current === view) opened.get(view).show();
}

/** Builds a view; whether it could be loaded. What a browser failed to load it may not ask for again: then the page is
 * loaded anew, which keeps what is in the form. */
async function load(view) {
  const root = $(`main > [data-view="${view}"]`);
  try {
    await Promise.all(STYLESHEETS[view].map(style));
    const module = await import(LAZY[view]);
    if (opened.has(view)) return true;
    root.replaceChildren();
    module.build(root);
    opened.set(view, module);
    failed.delete(view);
    return true;
  } catch (error) {
    if (!/module/i.test(error.message)) throw error; // it was loaded, and is wrong
    if (failed.has(view) && statusPoll.last) location.reload();
    failed.add(view);
    const again = button(t`Try again`, "retry", () => show(view), { class: "quiet strong" });
    const head = el("h1", { id: `${view}-title`, tabindex: "-1" }, t`This view could not be loaded`);
    root.replaceChildren(el("div", { class: "unloaded" }, head, el("p", {}, t`CyberImage does not answer. It appears as soon as it does.`), again));
    return false;
  }
}

/** Loads a style sheet that is not part of the first load. */
export function style(name) {
  const href = pathTo(`static/css/${name}.css`);
  if ($(`link[href="${href}"]`)) return Promise.resolve();
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  return new Promise((resolve) => {
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}
