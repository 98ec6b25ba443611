// A gallery tile: an image, or a job without one, with its status badge.

import { retryJob } from "./actions.js";
import { button, el, icon } from "./dom.js";
import { heart, toggleFavorite } from "./favorites.js";
import { STATUS_LABELS } from "./job-text.js";
import { openWorkMenu } from "./open-work-menu.js";
import { t, told } from "./strings.js";

export const keyOf = (item) => item.image_id ?? `${item.job_id} ${item.status}`;

/** An <a> or a <div> that fills its parent, which reserves the space; of a picture also its quick actions. */
export function tile(item, open) {
  return item.image_id ? [picture(item, open), quickActions(item)] : [unfinished(item)];
}

/** For the mouse: by keyboard they are F, and the actions of the lightbox. */
function quickActions(item) {
  if (item.deleted_at) return null;
  const more = button(null, "more", () => openWorkMenu(more, item), { class: "round small", "aria-label": t`What can be done with it`, "aria-haspopup": "menu", tabindex: "-1" });
  return el("div", { class: "tile-actions" }, heart(item, { tabindex: "-1" }), more);
}

function picture(item, open) {
  const image = el("img", {
    src: item.thumbnail_url, width: item.width, height: item.height, alt: item.prompt, loading: "lazy", decoding: "async", draggable: "false",
  });
  image.addEventListener("load", () => image.classList.add("there"), { once: true });
  image.addEventListener("error", () => link.classList.add("broken"), { once: true });
  const link = el(
    "a",
    { class: "tile", href: item.url, data: { id: item.image_id }, draggable: "false" },
    image,
    item.media === "video" && el("span", { class: "chip tile-badge" }, t`Video`),
    el("span", { class: "tile-words", dir: "auto", "aria-hidden": "true" }, item.prompt),
    el("span", { class: "tile-check", "aria-hidden": "true" }, icon("select")),
  );
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.button) return; // a new tab, as with any link
    event.preventDefault();
    open(item, event);
  });
  link.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey && !event.altKey && !item.deleted_at) toggleFavorite(item);
  });
  if (item.media === "video") import("./autoplay.js").then(({ playOnHover }) => playOnHover(link, image, item));
  return link;
}

function unfinished(item) {
  const canRetry = item.status === "FAILED" || item.status === "CANCELLED";
  return el(
    "div",
    { class: "tile unfinished", tabindex: "-1", data: { status: item.status, id: item.job_id } },
    el("span", { class: "chip tile-badge", data: { status: item.status } }, STATUS_LABELS[item.status]),
    el("p", { class: "tile-prompt", dir: "auto" }, item.prompt),
    item.error && el("p", { class: "tile-error" }, told(item.error.code, item.error.message)),
    canRetry && button(t`Retry`, "retry", () => retryJob(item.job_id)),
  );
}
