// The length fields of a video: frames and frame rate. Hidden for image models.

import { $, say } from "./dom.js";
import { decimal } from "./format.js";
import { t } from "./strings.js";

const [field, frames, fps, value] = ["#length-field", "#frames", "#fps", "#length-value"].map((id) => $(id));

export function applyLength(model) {
  field.hidden = model.media !== "video";
  if (field.hidden) return;
  bound(frames, fps, model);
  show();
}

/** {num_frames, fps}, without empty fields, for which the model's default is used. */
export const chosenLength = () => (field.hidden ? {} : lengthOf(frames, fps));

export function setLength(count, rate) {
  if (count) frames.value = count;
  if (rate) fps.value = rate;
  show();
}

/** Sets limits and defaults of `model` on the two number inputs. */
export function bound(many, rate, { defaults, limits }) {
  Object.assign(many, { min: 1, max: limits.max_frames, step: limits.frame_step, value: defaults.num_frames ?? "" });
  Object.assign(rate, { min: 1, max: limits.max_fps, step: 1, value: defaults.fps ?? "" });
}

export function lengthOf(many, rate) {
  const given = { num_frames: Number(many.value), fps: Number(rate.value) };
  return Object.fromEntries(Object.entries(given).filter(([, number]) => number));
}

/** Rounds the value of `input` to the nearest one that its limits and step allow. */
export function snap(input) {
  if (!input.value) return;
  const [step, most] = [Number(input.step), Number(input.max)];
  const last = 1 + Math.floor((most - 1) / step) * step;
  input.value = Math.min(Math.max(1 + Math.round((Number(input.value) - 1) / step) * step, 1), last);
}

function show() {
  const { num_frames: count, fps: rate } = lengthOf(frames, fps);
  say(value, count && rate ? t`${decimal(count / rate)} s` : t`the model’s own`);
}

field.addEventListener("change", ({ target }) => {
  snap(target);
  show();
});
