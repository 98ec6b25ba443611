// The seed field: random unless it is locked or typed; the last seed can be reused.

import { $, say } from "./dom.js";
import { t } from "./strings.js";

const MOST = 2 ** 32 - 1;
const [input, lock, last] = ["#seed", "#seed-lock", "#seed-last"].map((id) => $(id));
let lastUsed = null;

/** The seed of the next request; -1 is random. */
export function chosenSeed() {
  const typed = input.value.trim();
  return /^\d+$/.test(typed) && Number(typed) <= MOST ? Number(typed) : -1;
}

export const seedIsWrong = () => input.value.trim() !== "" && chosenSeed() === -1;

export function setSeed(seed) {
  input.value = seed === null || seed < 0 ? "" : String(seed);
  show();
}

/** Stores the seed of a finished image, for "Use last" and for locking an empty field. */
export function seedWasUsed(seed) {
  lastUsed = seed;
  last.disabled = false;
  last.title = t`The last picture used ${seed}`;
}

function show() {
  const held = chosenSeed() >= 0;
  lock.setAttribute("aria-pressed", String(held));
  input.setAttribute("aria-invalid", String(seedIsWrong()));
  say($("#seed-note"), seedIsWrong() ? t`A seed is a whole number from 0 to ${MOST}.` : t`The same seed and settings make the same picture.`);
  input.dispatchEvent(new CustomEvent("seed-changed", { bubbles: true }));
}

/** Locking an empty field fills in the last seed, or a random one. */
lock.addEventListener("click", () => {
  if (chosenSeed() >= 0) setSeed(null);
  else setSeed(lastUsed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
});
last.addEventListener("click", () => setSeed(lastUsed));
input.addEventListener("input", show);
