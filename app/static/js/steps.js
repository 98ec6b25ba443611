// The steps slider: follows the chosen model's limits and shows its value.

import { $, say, setVars } from "./dom.js";
import { t } from "./strings.js";

const USUAL = { min: 20, max: 50, default: 30 }; // for a model without limits

const slider = $("#steps");
const value = $("#steps-value");
const note = $("#steps-note");

export const stepCount = () => Number(slider.value);

/** Adapts the slider to the limits `rule`; `wanted` is used where they allow it. */
export function applySteps(rule, wanted = null) {
  const fixed = rule?.fixed ?? null;
  const { min, max, default: usual } = fixed === null ? { ...USUAL, ...rule } : { ...USUAL, default: fixed };
  slider.min = Math.min(min, usual);
  slider.max = Math.max(max, usual);
  slider.value = fixed === null && wanted >= min && wanted <= max && wanted !== null ? wanted : usual;
  slider.disabled = fixed !== null;
  say(note, fixed === null ? "" : t`This model always takes ${fixed}.`);
  note.hidden = fixed === null;
  showSteps();
}

export function showSteps() {
  say(value, slider.value);
  paint(slider);
}

/** Colours the part of a range input left of its thumb. */
export function paint(range) {
  const span = range.max - range.min || 1;
  setVars(range, { "--filled": `${(100 * (range.value - range.min)) / span}%` });
}
