// Example prompts of the chosen model.

import { $ } from "./dom.js";
import { t } from "./strings.js";

const trigger = $("#surprise");
const prompt = $("#prompt");
let examples = [];
let next = 0;

export function applyExamples(model) {
  examples = model.example_prompts ?? [];
  next = 0;
  trigger.hidden = examples.length === 0;
  prompt.placeholder = model.hint || t`Describe the picture you want to see`;
}

export const someExamples = (count) => examples.slice(0, count);

export function fillPrompt(text, { focus = true } = {}) {
  prompt.value = text;
  prompt.dispatchEvent(new Event("input", { bubbles: true }));
  if (focus) prompt.focus();
}

/** Adds words to the end of the prompt. */
export function addToPrompt(words) {
  const before = prompt.value.trim().replace(/,$/, "");
  fillPrompt(before ? `${before}, ${words}` : words, { focus: false });
}

trigger.addEventListener("click", () => fillPrompt(examples[next++ % examples.length]));
