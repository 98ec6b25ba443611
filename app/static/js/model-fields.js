// The controls of a provider's form: one object a field, with node, value(), set(), mark(), problem(), isKept(), focus().

import { el, say } from "./dom.js";
import { fileControl } from "./model-files.js";
import { paint } from "./steps.js";
import { t } from "./strings.js";

const MOST_STEPS = 1000; // of a slider; wider ranges are typed
const OWN = t`the model’s own`;

/** `changed` is called after each change by the user. Ids of controls begin with `prefix`. */
export function makeField(field, changed, prefix = "input") {
  const id = `${prefix}-${field.name}`;
  const { control, labelled = true, set, value, ...more } = (field.many && field.kind !== "file" ? many : CONTROLS[field.kind])(field, id, changed);
  const error = el("p", { class: "note field-error", id: `${id}-error`, hidden: true });
  const note = field.description && el("p", { class: "note", id: `${id}-note` }, field.description);
  const title = field.required ? [field.title, " ", el("span", { class: "value" }, "required")] : [field.title];
  const node = labelled
    ? el("div", { class: "field" }, el("label", { for: id }, ...title), control, note, error)
    : el("fieldset", { class: "field", id }, el("legend", {}, ...title), control, note, error);
  const described = labelled ? node.querySelector(`[id="${id}"]`) : node;
  described.setAttribute("aria-describedby", [note && note.id, error.id].filter(Boolean).join(" "));
  node.addEventListener("input", changed);
  return {
    ...field,
    node,
    value,
    isKept: () => field.kind !== "file" && !field.secret,
    focus: () => (labelled ? described : node.querySelector("button, input"))?.focus(),
    /** Whether the value could be shown; a file that was uploaded cannot come back. */
    set: (given) => set(given) !== false,
    mark(sentence) {
      error.hidden = !sentence;
      say(error, sentence);
      described.setAttribute("aria-invalid", String(Boolean(sentence)));
    },
    problem() {
      const wrong = more.problem?.();
      if (wrong) return wrong;
      return field.required && field.default === null && value() === undefined ? t`is required` : null;
    },
    add: more.add,
  };
}

const textOf = (value) => (value === null || value === undefined ? "" : String(value));

function text({ max_length: most, secret, default: usual }, id) {
  const control = el("input", { id, type: secret ? "password" : "text", maxlength: most, autocomplete: "off", placeholder: usual === null ? "" : null });
  return { control, value: () => control.value.trim() || undefined, set: (given) => void (control.value = textOf(given)) };
}

function longText({ max_length: most }, id) {
  const control = el("textarea", { id, rows: 3, maxlength: most });
  return { control, value: () => control.value.trim() || undefined, set: (given) => void (control.value = textOf(given)) };
}

/** A number; with a slider where its range is bounded and it has a default, since a slider cannot be empty. */
function number({ kind, minimum, maximum, step, default: usual }, id, changed) {
  const attributes = { min: minimum, max: maximum, step: step ?? "any" };
  const input = el("input", { id, type: "number", inputmode: kind === "integer" ? "numeric" : "decimal", placeholder: OWN, ...attributes });
  const value = () => (input.value.trim() === "" ? undefined : Number(input.value));
  const problem = () => (input.validity.valid ? null : rangeOf(attributes));
  const grid = step ?? gridOf(minimum, maximum);
  if (typeof usual !== "number" || minimum === null || maximum === null || (maximum - minimum) / grid > MOST_STEPS) {
    return { control: input, value, problem, set: (given) => void (input.value = textOf(given)) };
  }
  const slider = el("input", { type: "range", tabindex: -1, "aria-hidden": "true", min: minimum, max: maximum, step: grid });
  const follow = () => {
    slider.value = input.value === "" ? usual : input.value;
    paint(slider);
  };
  slider.addEventListener("input", () => {
    input.value = slider.value;
    paint(slider);
    changed();
  });
  input.addEventListener("input", follow);
  const set = (given) => {
    input.value = textOf(given);
    follow();
  };
  return { control: el("div", { class: "slider" }, slider, input), value, problem, set };
}

const gridOf = (low, high) => (high - low <= 2 ? 0.01 : high - low <= 50 ? 0.1 : 1);

function rangeOf({ min, max, step }) {
  const kind = step === 1 ? t`a whole number` : t`a number`;
  return min !== null && max !== null ? t`must be ${kind} from ${min} to ${max}`
    : min !== null ? t`must be ${kind} of ${min} or more` : max !== null ? t`must be ${kind} of ${max} or less` : t`must be ${kind}`;
}

function flag(field, id) {
  const control = el("input", { id, type: "checkbox", role: "switch", class: "switch" });
  return { control, value: () => (control.checked || field.default !== null ? control.checked : undefined), set: (given) => void (control.checked = given === true) };
}

/** Options stand for JSON values: their own are text. */
function choice({ choices, default: usual, required }, id) {
  const none = usual === null ? [el("option", { value: "" }, required ? t`Choose…` : OWN)] : [];
  const control = el("select", { id }, ...none, choices.map((one, index) => el("option", { value: index }, String(one))));
  const indexOf = (given) => choices.findIndex((one) => String(one) === String(given));
  return {
    control: el("span", { class: "select" }, control),
    value: () => (control.value === "" ? undefined : choices[Number(control.value)]),
    set: (given) => void (control.value = indexOf(given) < 0 ? "" : indexOf(given)),
  };
}

function json(field, id) {
  const control = el("textarea", { id, rows: 3, spellcheck: "false", class: "json", placeholder: "JSON" });
  const parsed = () => {
    try {
      return control.value.trim() ? JSON.parse(control.value) : undefined;
    } catch {
      return null;
    }
  };
  return {
    control,
    value: parsed,
    set: (given) => void (control.value = given === null || given === undefined ? "" : JSON.stringify(given)),
    problem: () => (parsed() === null ? t`must be JSON` : null),
  };
}

/** A list: boxes to tick for an enum, else a line for each value. */
function many(field, id) {
  if (field.kind === "choice") return ticks(field, id);
  const isNumber = field.kind === "integer" || field.kind === "number";
  const control = el("textarea", { id, rows: 3, placeholder: t`One a line` });
  const lines = () => control.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return {
    control,
    value: () => (lines().length ? lines().map((line) => (isNumber ? Number(line) : line)) : undefined),
    set: (given) => void (control.value = Array.isArray(given) ? given.join("\n") : ""),
    problem: () => (isNumber && lines().some((line) => Number.isNaN(Number(line))) ? t`must have a number on each line` : null),
  };
}

function ticks({ choices, name }) {
  const boxes = choices.map(() => el("input", { type: "checkbox", name }));
  return {
    labelled: false,
    control: el("div", { class: "ticks" }, boxes.map((box, index) => el("label", { class: "check" }, box, String(choices[index])))),
    value: () => {
      const found = choices.filter((_, index) => boxes[index].checked);
      return found.length ? found : undefined;
    },
    set: (given) => boxes.forEach((box, index) => (box.checked = Array.isArray(given) && given.includes(choices[index]))),
  };
}

const CONTROLS = { text, long_text: longText, integer: number, number, boolean: flag, choice, json, file: fileControl };
