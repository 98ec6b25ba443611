// Videos that play by themselves: muted, in a circle, and only for those who do not mind things that move.

import { el } from "./dom.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** A muted <video> of `item` that begins at once, unless movement is not wanted. */
export function film(item, attributes = {}) {
  const video = el("video", { src: item.url, loop: true, playsinline: true, "aria-label": item.prompt, tabindex: "-1", ...attributes });
  video.muted = true; // the attribute alone counts only for elements that a parser made
  if (!still.matches) video.autoplay = true;
  return video;
}

/** Plays `item` over its poster while `link` is pointed at or has the focus. Nothing is fetched before. */
export function playOnSight(link, poster, item) {
  let video = null;
  const play = ({ pointerType }) => {
    if (video || still.matches || pointerType === "touch") return;
    video = film(item, { "aria-hidden": "true" });
    poster.after(video);
  };
  const rest = () => {
    if (!video || link.matches(":hover, :focus")) return;
    video.removeAttribute("src"); // so that what is left of it is not fetched
    video.load();
    video.remove();
    video = null;
  };
  for (const name of ["pointerenter", "focus"]) link.addEventListener(name, play);
  for (const name of ["pointerleave", "blur"]) link.addEventListener(name, rest);
}
