// Hash router: shows one view at a time. Views other than the first are imported when they are first opened.

import { pathTo } from "./base.js";
import { $, $$ } from "./dom.js";

const LAZY = { gallery: "./gallery.js", queue: "./queue.js", status: "./status.js", keys: "./keys.js" };
const STYLESHEETS = { gallery: ["gallery"], queue: ["queue"], status: ["queue", "status"], keys: ["queue", "keys"] };
const TITLES = { create: "CyberImage", gallery: "Gallery · CyberImage", queue: "Queue · CyberImage", status: "Status · CyberImage", keys: "Keys · CyberImage" };

const opened = new Map(); // view → its module: show() and hide()
let current = "create";

export const currentView = () => current;
export const viewTitle = () => TITLES[current];

export function startRouting() {
  addEventListener("hashchange", route);
  route(null);
}

async function route(event) {
  if (location.hash && !location.hash.startsWith("#/")) return; // an ordinary anchor
  const name = location.hash.slice(2).split("/")[0];
  const view = name in LAZY && $(`main > [data-view="${name}"]`) ? name : "create";
  opened.get(current)?.hide?.();
  current = view;
  document.title = TITLES[view];
  for (const section of $$("main > .view")) section.hidden = section.dataset.view !== view;
  for (const link of $$(".tabs a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view in LAZY) await show(view);
  if (event && current === view) {
    scrollTo(0, 0);
    const typing = view === "create" && matchMedia("(pointer: fine)").matches; // do not open an on-screen keyboard
    $(typing ? "#prompt" : `main > [data-view="${view}"] h1`)?.focus({ preventScroll: true });
  }
}

async function show(view) {
  if (!opened.has(view)) {
    await Promise.all(STYLESHEETS[view].map(style));
    const module = await import(LAZY[view]);
    if (!opened.has(view)) {
      module.build($(`main > [data-view="${view}"]`));
      opened.set(view, module);
    }
  }
  if (current === view) opened.get(view).show();
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
