// The batch section of the form: axes, seeds and how they are combined, with what a dry run says of them. While it is
// open, the form submits a batch. Imported when it is first opened.

import { call, post } from "./api.js";
import { axisRow } from "./batch-axis.js";
import { batchBody, placed } from "./batch-values.js";
import { request } from "./composer.js";
import { $, button, el, say } from "./dom.js";
import { plural, roughly } from "./format.js";
import { inputProblem } from "./input-image.js";
import { toast } from "./notices.js";
import { chosen } from "./picker.js";
import { style } from "./router.js";
import { seedIsWrong } from "./seed.js";
import { newKey, retryWhileOffline } from "./send.js";
import { localStore } from "./storage.js";
import { t } from "./strings.js";

const KEY = "batch";
const MOST_AXES = 8;
const PAUSE_MILLISECONDS = 500; // of typing, before a dry run
const BUSY_MILLISECONDS = 3000; // before one that the server had no room for is sent once more
const SHOWN_PROMPTS = 6;
const CHECK_SECONDS = 90; // the server takes 60 at most
const SEEDS = [["same", t`One for all`], ["each", t`One each`], ["several", t`Several`], ["list", t`List`]];
const MODES = [["combinatorial", t`Every combination`], ["zipped", t`Side by side`], ["sampled", t`By chance`]];
const ABOUT_SEEDS = {
  same: t`All pictures share the seed of the form, so that they can be compared.`,
  each: t`Every picture has a seed of its own.`,
  several: t`Everything is made with each of so many seeds.`,
  list: t`Everything is made with each of these.`,
};
const ABOUT_MODES = {
  combinatorial: t`Every value with every other.`,
  zipped: t`The first values together, then the second ones; all fields need equally many.`,
  sampled: t`So many pictures, each with values drawn by chance. The same draw gives the same ones.`,
};
const TEMPLATES = [
  ["{red|green}", t`one of them`],
  ["{2$$a|b|c}", t`every two of them`],
  ["{3::a|b}", t`by chance, a three times as often`],
  ["__colours__", t`each line of the server’s file colours.txt`],
  ["\\{ \\} \\|", t`the character itself`],
];

const details = $("#batch");
const form = $("#generate-form");
const rows = []; // see axisRow
const parts = {};
let timer = null;
let asked = 0; // changes so far: only a dry run of the last one is shown
let next = null; // the dry run that follows the one in flight: the newest
let running = false;
let restoring = false;

build();
restore(localStore.readJson(KEY, {}));
details.addEventListener("toggle", opened);
for (const name of ["input", "change", "loras-changed", "inputs-changed"]) form.addEventListener(name, later);
opened();

function build() {
  parts.axes = el("ul", { class: "batch-axes", "aria-label": t`What changes` });
  parts.add = button(t`Add a field`, null, () => add({}), { id: "batch-add" });
  parts.seeds = choice("batch-seeds", t`Seeds`, SEEDS, ABOUT_SEEDS);
  parts.mode = choice("batch-mode", t`Combine`, MODES, ABOUT_MODES);
  parts.seedCount = field("batch-seed-count", t`How many seeds`, { type: "number", min: 1, max: 10_000, value: 4 });
  parts.seedList = field("batch-seed-list", t`Seeds, such as 7, 20..29`, { type: "text" });
  parts.samples = field("batch-samples", t`How many pictures`, { type: "number", min: 1, value: 16 });
  parts.draw = field("batch-draw", t`Draw`, { type: "number", min: 0, value: 0 });
  parts.name = field("batch-name", t`Name`, { type: "text", maxlength: 200, placeholder: t`optional` });
  parts.verdict = el("p", { class: "batch-verdict", role: "status" });
  parts.problem = el("p", { class: "note field-error", id: "batch-problem", role: "alert", hidden: true });
  parts.prompts = el("ul", { class: "batch-prompts" });
  parts.planned = el("details", { class: "why", hidden: true }, el("summary", {}, t`The first prompts`), parts.prompts);
  const templates = TEMPLATES.map(([written, meaning]) => el("div", {}, el("dt", {}, el("code", {}, written)), el("dd", {}, meaning)));
  details.append(
    el(
      "div",
      { class: "batch-form" },
      parts.verdict,
      parts.problem,
      parts.planned,
      parts.axes,
      parts.add,
      el("details", { class: "why" }, el("summary", {}, t`Choices in the prompt`), el("dl", { class: "batch-templates" }, templates)),
      parts.seeds.node,
      parts.seedCount.node,
      parts.seedList.node,
      parts.mode.node,
      el("div", { class: "batch-pair" }, parts.samples.node, parts.draw.node),
      parts.name.node,
    ),
  );
}

/** A fieldset of radio buttons, with a note on what is chosen. */
function choice(name, label, options, about) {
  const note = el("p", { class: "note", id: `${name}-note` });
  const radio = ([value, words]) => el("label", {}, el("input", { type: "radio", name, value, "aria-describedby": note.id }), words);
  const node = el("fieldset", { class: "field" }, el("legend", {}, label), el("div", { class: "segments batch-segments" }, options.map(radio)), note);
  const value = () => $("input:checked", node)?.value ?? options[0][0];
  return {
    node,
    value,
    set: (wanted) => (($(`input[value="${options.some(([one]) => one === wanted) ? wanted : options[0][0]}"]`, node)).checked = true),
    show: () => say(note, about[value()]),
  };
}

function field(id, label, attributes) {
  const input = el("input", { id, "aria-describedby": `${id}-error`, autocomplete: "off", ...(attributes.type === "number" ? { inputmode: "numeric" } : {}), ...attributes });
  const error = el("p", { class: "note field-error", id: `${id}-error`, hidden: true });
  const node = el("div", { class: "field" }, el("label", { for: id }, label), input, error);
  return { node, input, mark: (message) => markField(input, error, message) };
}

function markField(input, error, message) {
  input.setAttribute("aria-invalid", String(Boolean(message)));
  error.hidden = !message;
  say(error, message ?? "");
}

function add(kept) {
  const row = axisRow(kept, remove);
  rows.push(row);
  parts.axes.append(row.node);
  parts.add.disabled = rows.length >= MOST_AXES;
  if (!restoring) {
    row.focus();
    later();
  }
}

function remove(row) {
  rows.splice(rows.indexOf(row), 1);
  row.node.remove();
  parts.add.disabled = false;
  parts.add.focus();
  later();
}

function restore(kept) {
  restoring = true;
  for (const axis of Array.isArray(kept.axes) && kept.axes.length ? kept.axes.slice(0, MOST_AXES) : [{}]) add(axis);
  parts.seeds.set(kept.seeds);
  parts.mode.set(kept.mode);
  for (const name of ["seedCount", "seedList", "samples", "draw", "name"]) if (kept[name] !== undefined) parts[name].input.value = kept[name];
  restoring = false;
}

/** What is in the section; fields without values are none yet. */
function read() {
  const axes = rows.map((row) => row.read());
  const values = Object.fromEntries(["seedCount", "seedList", "samples", "draw", "name"].map((name) => [name, parts[name].input.value.trim()]));
  return { axes, seeds: parts.seeds.value(), mode: parts.mode.value(), ...values };
}

function opened() {
  style("batch-form");
  if (!details.open) {
    clearTimeout(timer);
    asked++;
    next = null;
  }
  show();
  label(null);
  if (details.open) later();
}

function show() {
  parts.seedCount.node.hidden = parts.seeds.value() !== "several";
  parts.seedList.node.hidden = parts.seeds.value() !== "list";
  for (const one of [parts.samples, parts.draw]) one.node.hidden = parts.mode.value() !== "sampled";
  for (const one of [parts.seeds, parts.mode]) one.show();
}

/** What the button says while the section is open; composer.js has it from the form. */
function label(images) {
  const words = details.open && !chosen()?.schema_url ? (images ? t`Make ${plural(images, "picture")}` : t`Make the batch`) : "";
  form.dataset.batch = words;
  if ($("#generate").getAttribute("aria-busy") !== "true") say($("#generate-text"), words || t`Generate`);
}

function later() {
  if (!details.open || restoring) return;
  show();
  localStore.write(KEY, JSON.stringify(read()));
  asked++;
  dryRunIn(PAUSE_MILLISECONDS);
}

function dryRunIn(milliseconds, isRepeated = false) {
  clearTimeout(timer);
  timer = setTimeout(dryRun, milliseconds, isRepeated);
}

/** One is in flight at a time: the server prepares one batch of a client at a time, and would let the others wait. */
async function dryRun(isRepeated) {
  next = null;
  if (!chosen() || chosen().schema_url) return;
  const { body, problems: wrong } = bodyNow();
  const begun = isEmpty() ? [] : wrong;
  showErrors(begun);
  label(null);
  if (wrong.length) return verdict(begun.length ? "" : t`Say what changes: a field and its values, or {red|green} in the prompt.`);
  verdict(t`Counting…`);
  next = { number: asked, body, isRepeated };
  if (running) return;
  running = true;
  try {
    while (next) await count(next);
  } finally {
    running = false;
  }
}

async function count({ number, body, isRepeated }) {
  next = null;
  try {
    const found = await call(`api/batches?limit=${SHOWN_PROMPTS * 4}`, { method: "POST", body: { ...body, dry_run: true }, seconds: CHECK_SECONDS });
    if (number === asked) tell(found);
  } catch (error) {
    if (number === asked) uncounted(error, isRepeated);
  }
}

/** A server that is busy is no fault of what is in the form. */
function uncounted(error, isRepeated) {
  const isBusy = error.status === 503;
  if (isBusy && !isRepeated) return dryRunIn(BUSY_MILLISECONDS, true);
  verdict(isBusy ? t`Not counted. ${error.message}` : "");
  if (!isBusy) showErrors(error.errors?.length ? error.errors : [{ field: "", message: error.message }]);
}

function tell(found) {
  const jobs = found.jobs === found.images ? "" : t`in ${plural(found.jobs, "job")}`;
  const time = found.seconds === null ? t`no estimate: nothing alike was made here yet` : t`about ${roughly(found.seconds)}`;
  verdict([`${plural(found.images, "picture")} ${jobs}`.trim(), time, found.price ? t`costs ${found.price}` : ""].filter(Boolean).join(" · "));
  const prompts = [...new Set(found.planned.map(({ prompt }) => prompt))].slice(0, SHOWN_PROMPTS);
  parts.planned.hidden = prompts.length < 2;
  parts.prompts.replaceChildren(...prompts.map((prompt) => el("li", { dir: "auto" }, prompt)));
  label(found.images);
}

function verdict(words) {
  say(parts.verdict, words);
  parts.verdict.hidden = !words;
}

const isEmpty = () => rows.every((row) => row.isEmpty());

/** {body, problems} of what is in the form; without axes where the prompt or the seeds alone say what changes. */
function bodyNow() {
  const batch = read();
  const varied = /\{|__\w/.test($("#prompt").value) || batch.seeds !== "same";
  return batchBody(request(), isEmpty() && varied ? { ...batch, axes: [] } : batch);
}

function showErrors(errors) {
  const found = placed(errors, rows.map((row) => row.read().field));
  rows.forEach((row, at) => row.mark(found.filter((one) => one.at === at)));
  const of = (part) => found.find((one) => one.at === null && one.part === part)?.message ?? null;
  parts.seedCount.mark(parts.seeds.value() === "several" ? of("seeds") : null);
  parts.seedList.mark(parts.seeds.value() === "list" ? of("seeds") : null);
  parts.samples.mark(of("samples"));
  parts.draw.mark(of("sample_seed"));
  parts.name.mark(of("name"));
  const others = found.filter(({ at, part }) => at === null && ["other", "prompt"].includes(part)).map(({ message }) => message);
  if (parts.seeds.value() === "same" && of("seeds")) others.push(of("seeds"));
  parts.problem.hidden = !others.length;
  say(parts.problem, others.slice(0, 4).join(" "));
  if (found.length) {
    parts.planned.hidden = true;
    label(null);
  }
  return found;
}

// --- what composer.js asks of a form that submits in its own way

/** What is wrong, as the server would say it. */
export function problems() {
  if (!chosen()) return [{ field: "", message: t`The models are still loading. Try again in a moment.` }];
  const own = seedIsWrong() ? t`The seed is not a whole number.` : inputProblem(chosen());
  return own ? [{ field: "", message: own }] : bodyNow().problems;
}

/** Shows errors at their fields. Returns a sentence for the form, null when there is nothing wrong. */
export function mark(errors) {
  const found = showErrors(errors);
  if (!found.length) return null;
  const [first] = found;
  const own = { seeds: parts.seeds.value() === "list" ? parts.seedList : parts.seedCount, samples: parts.samples, sample_seed: parts.draw, name: parts.name }[first.part];
  (first.at === null ? own?.input : rows[first.at].control(first.part))?.focus();
  return own || first.at !== null ? t`The batch cannot be made like this; see its fields.` : first.message;
}

export async function submit({ key = newKey(), waiting }) {
  const { body } = bodyNow();
  const send = () => call("api/batches", { method: "POST", body, headers: { "Idempotency-Key": key }, seconds: CHECK_SECONDS });
  const made = await retryWhileOffline(send, waiting);
  for (const warning of made.warnings) toast(warning);
  const undo = { label: t`Cancel it`, run: () => post(`api/batches/${made.batch_id}/cancel`).catch((error) => toast(error.message, { kind: "error" })) };
  toast(t`${plural(made.jobs, "job")} accepted`, { action: undo });
  if (isEmpty() && parts.seeds.value() === "same") details.open = false; // the prompt alone varied: the next may be one picture
  location.hash = `#/queue/${made.batch_id}`;
}
