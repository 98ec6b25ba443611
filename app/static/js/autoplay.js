// Videos that play automatically: muted, looped, and not with prefers-reduced-motion.

import { el } from "./dom.js";

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** A muted <video> of `item` that plays at once, unless reduced motion is preferred. */
export const autoplayVideo = (item, attributes = {}) => playIn(el("video", attributes), item);

/** The same in a <video> that is there already. */
export function playIn(video, item) {
  for (const [name, value] of Object.entries({ loop: "", playsinline: "", "aria-label": item.prompt, tabindex: "-1", src: item.url })) video.setAttribute(name, value);
  video.muted = true; // the attribute alone counts only for elements that a parser made
  if (!reducedMotion.matches) video.autoplay = true;
  return video;
}

/** Plays `item` over its poster while `link` is hovered or focused. Nothing is fetched before. */
export function playOnHover(link, poster, item) {
  let video = null;
  const play = ({ pointerType }) => {
    if (video || reducedMotion.matches || pointerType === "touch") return;
    video = autoplayVideo(item, { "aria-hidden": "true" });
    poster.after(video);
  };
  const stop = () => {
    if (!video || link.matches(":hover, :focus")) return;
    video.removeAttribute("src"); // aborts the download
    video.load();
    video.remove();
    video = null;
  };
  for (const name of ["pointerenter", "focus"]) link.addEventListener(name, play);
  for (const name of ["pointerleave", "blur"]) link.addEventListener(name, stop);
}
