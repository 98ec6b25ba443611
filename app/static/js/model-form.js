// The form of a provider's model, made from its schema. It stands where the settings of local models stand; the prompt
// box above holds the model's `prompt`.

import { get } from "./api.js";
import { $, button, el } from "./dom.js";
import { markFields, nameIn, sentenceOf } from "./field-errors.js";
import { setReceiver } from "./input-image.js";
import { keepSettings, settingsOf } from "./model-settings.js";
import { makeField } from "./model-fields.js";
import { style } from "./router.js";
import { send } from "./send.js";
import { t } from "./strings.js";

const SHOWN = 7; // more than these, and one or two others, are folded away
const PROMPT_MAX = 10_000;

const prompt = $("#prompt");
const root = el("div", { class: "model-form", id: "model-form" });
let model = null; // whose form is shown
let schema = null; // null while it is loaded
let fields = [];
let waiting = null; // an input to fill in as soon as the fields are there
$(".settings").append(root);

/** Shows the form of `next`, with what was last chosen for it. */
export async function show(next) {
  await style("model-form");
  if (model === next && schema) return listen();
  [model, schema, fields] = [next, null, []];
  root.replaceChildren(el("p", { class: "note", role: "status" }, t`Loading the model’s settings…`));
  try {
    const found = await get(next.schema_url);
    if (model === next) build(found);
  } catch (error) {
    if (model === next) root.replaceChildren(el("p", { class: "note warn" }, error.message), button(t`Try again`, "retry", () => show(next)));
  }
}

/** Another model was chosen. */
export function leave() {
  setReceiver(null);
  prompt.closest(".prompt-box").hidden = false;
}

function listen() {
  const first = fields.find(({ name }) => name === model.first_frame);
  setReceiver(first ? (source, shown) => first.add(source, shown) : null);
  prompt.closest(".prompt-box").hidden = !hasPrompt();
}

const hasPrompt = () => !schema.fields.length || schema.fields.some(({ name }) => name === "prompt");

function build(found) {
  schema = found;
  fields = schema.fields.filter(({ name }) => name !== "prompt").map((field) => makeField(field, changed));
  const folded = fields.length > SHOWN + 2 ? fields.splice(SHOWN) : [];
  root.replaceChildren(
    el("div", { class: "model-form-head" }, el("p", { class: "note" }, facts()), button(t`Back to defaults`, null, reset, { class: "link" })),
    ...fields.map(({ node }) => node),
    folded.length ? el("details", { class: "fine" }, el("summary", {}, t`${folded.length} more settings`), ...folded.map(({ node }) => node)) : "",
  );
  fields.push(...folded);
  fill(waiting ?? settingsOf(model.id).input ?? {});
  waiting = null;
  listen();
}

function facts() {
  const { price, fields: all } = schema;
  return [price && (model.media === "video" ? t`Costs ${price} a video.` : t`Costs ${price} a picture.`), !all.length && t`The model does not publish its settings.`].filter(Boolean).join(" ");
}

/** Sets the fields that `input` names, the others to their defaults. Names of files that have to be chosen again. */
export function fill(input) {
  if (!schema) {
    waiting = input;
    return [];
  }
  if (typeof input.prompt === "string") prompt.value = input.prompt;
  return fields.filter((field) => !field.set(input[field.name] ?? field.default)).map(({ title }) => title);
}

function reset() {
  fill({});
  keepSettings(model.id, { input: undefined });
}

function changed() {
  mark([]);
  const kept = fields.filter((field) => field.isKept()).map((field) => [field.name, field.value()]);
  keepSettings(model.id, { input: Object.fromEntries(kept.filter(([, value]) => value !== undefined)) });
}

/** What is wrong with the form, as the server would say it. */
export function problems() {
  if (!schema) return [{ field: "model", message: t`is still loading its settings. Try again in a moment.` }];
  const own = fields.map((field) => ({ field: `input.${field.name}`, message: field.problem() }));
  return [{ field: "input.prompt", message: promptProblem() }, ...own].filter(({ message }) => message);
}

function promptProblem() {
  const needed = !schema.fields.length || schema.fields.some(({ name, required }) => name === "prompt" && required);
  if (needed && !prompt.value.trim()) return t`must say what to show`;
  return [...prompt.value].length > PROMPT_MAX ? t`must have ${PROMPT_MAX} characters or less` : null;
}

export async function submit(options) {
  const words = hasPrompt() ? prompt.value.trim() : "";
  const given = fields.map((field) => [field.name, field.value()]).filter(([, value]) => value !== undefined);
  const input = { ...(words ? { prompt: words } : {}), ...Object.fromEntries(given) };
  const job = { prompt: words || model.name, model_id: model.id, settings: {} };
  await send({ model: model.repo, input }, { to: model.run, job, ...options });
}

/** Shows errors at their fields. Returns a sentence about them, null when none is about the form. */
export function mark(errors) {
  markFields(fields, errors);
  const first = fields.find((field) => errors.some((one) => nameIn(one.field) === field.name));
  first?.node.closest("details")?.setAttribute("open", "");
  first?.focus();
  return sentenceOf(errors, fields);
}
