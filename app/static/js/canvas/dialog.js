// The canvas: repaints a part of a picture, or extends it. The result is shown beside the original, and can be painted on
// again.

import { compareSlider } from "../compare.js";
import { $, button, el, say } from "../dom.js";
import { isMeasured, remainingText, statusText } from "../job-text.js";
import { isActive, jobs } from "../jobs.js";
import { announce } from "../notices.js";
import { recipe, givenSettings, inputsOf, loadImage, repaintOf } from "../recipe.js";
import { send } from "../send.js";
import { t, told } from "../strings.js";
import { Viewport } from "../viewport.js";
import { Brush } from "./brush.js";
import { Frame } from "./frame.js";
import { Mask } from "./mask.js";
import { Panel } from "./panel.js";

const MOST_DRAFTS = 8;
const drafts = new Map(); // picture → its mask, as it was left
let picture = null; // {source, url, width, height, prompt}: what is painted on
let mask = new Mask(1, 1);
let mode = "repaint";
let job = null; // the latest one of this dialog
let results = []; // [{url, image_id, …}] of this picture

const content = el("div", { class: "canvas-content" });
const box = el("div", { class: "canvas-box", tabindex: "0", role: "application", "aria-label": t`Mask. Arrow keys move the brush, space puts it down and lifts it, brackets change its size.` }, content);
const viewport = new Viewport(box, content, () => content.style.setProperty("--unit", `${1 / viewport.scale}px`));
viewport.free = true;
const brush = new Brush(box, viewport, () => mask, showTools);
const frame = new Frame(viewport, (now) => panel.showExtension(now));
const panel = new Panel({ changed: onForm, extend: (sides) => frame.set(sides) });
const stage = el("div", { class: "canvas-stage" });
const problem = el("p", { class: "form-error", role: "alert", hidden: true });
const state = el("p", { class: "canvas-state", role: "status" });
const bar = el("progress", { max: 100, "aria-label": t`Progress`, hidden: true });
const submit = el("button", { type: "submit", class: "primary" }, t`Repaint`);
const strip = el("ul", { class: "canvas-results", "aria-label": t`Results`, hidden: true });
const after = el("div", { class: "actions", hidden: true });

const tool = (name, label, iconName, key) => button(null, iconName, () => brush.choose(name), { class: "round", "aria-label": label, title: `${label} (${key})`, data: { tool: name } });
const act = (label, iconName, key, run, name) => button(null, iconName, run, { class: "round", "aria-label": label, title: `${label} (${key})`, data: { act: name } });
const size = el("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": t`Size of the brush`, title: t`Size of the brush ([ and ], or the wheel)`, oninput: ({ target }) => brush.resize(fromSlider(target.value)) });
const tools = el(
  "div",
  { class: "canvas-tools", role: "toolbar", "aria-label": t`Tools` },
  tool("brush", t`Brush`, "brush", "B"),
  tool("eraser", t`Eraser`, "eraser", "E"),
  tool("lasso", t`Lasso`, "lasso", "L"),
  tool("hand", t`Move the picture`, "hand", "H"),
  size,
  act(t`Undo`, "undo", t`Ctrl Z`, () => mask.undo(), "undo"),
  act(t`Redo`, "redo", t`Ctrl Shift Z`, () => mask.redo(), "redo"),
  act(t`Invert`, "invert", "I", () => mask.invert(), "invert"),
  act(t`Clear`, "trash", "C", () => mask.clear(), "clear"),
  act(t`Fit`, "fit", "0", () => fit(), "fit"),
);
const modes = el(
  "fieldset",
  { class: "segments" },
  el("legend", { class: "unseen" }, t`What to do`),
  [["repaint", t`Repaint a part`], ["extend", t`Extend`]].map(([value, label]) => el("label", {}, el("input", { type: "radio", name: "canvas-mode", value, onchange: () => setMode(value) }), label)),
);
const form = el("form", { class: "canvas-side", novalidate: true, "aria-label": t`What to paint` }, el("h2", { class: "unseen" }, t`Repaint or extend`), modes, panel.node, problem, submit, bar, state, strip, after);
const dialog = el("dialog", { class: "canvas", id: "canvas", "aria-label": t`Repaint a picture` }, el("div", { class: "canvas-main" }, stage, tools), form, button(null, "close", () => dialog.close(), { class: "round canvas-close", "aria-label": t`Close` }));
stage.append(box);
document.body.append(dialog);

/** `again` opens the picture that `item` was made from, with its mask. */
export async function open(item, { mode: wanted = "repaint", again = false } = {}) {
  const made = await recipe(item).catch(() => ({ prompt: item.prompt }));
  if (again) {
    const { images, part } = await inputsOf(made);
    const [source] = images;
    const url = source.source.startsWith("data:") ? source.source : source.shown.replace(/\/thumbnail.*$/, "");
    await show({ source: source.source, url, prompt: made.prompt, made }, part && (await loadImage(part.source)), { ...repaintOf(made), strength: made.settings?.strength });
  } else await show({ source: item.image_id, url: item.url, prompt: item.prompt, made });
  setMode(wanted);
  if (!dialog.open) dialog.showModal();
  fit();
  box.focus();
}

/** Another picture to paint on. */
async function show(next, drawn = null, settings = null) {
  leaveDraft();
  const image = await loadImage(next.url);
  image.alt = next.prompt;
  picture = { ...next, width: image.naturalWidth, height: image.naturalHeight };
  const kept = drafts.get(picture.source);
  mask = kept ?? new Mask(picture.width, picture.height);
  mask.changed = onMask;
  if (drawn) mask.take(drawn);
  results = [];
  job = null;
  content.replaceChildren(image, mask.canvas, frame.node);
  Object.assign(content.style, { width: `${picture.width}px`, height: `${picture.height}px` });
  mask.canvas.classList.add("canvas-mask");
  brush.size = Math.max(8, Math.round(Math.min(picture.width, picture.height) / 10));
  panel.begin({ prompt: next.prompt, settings });
  frame.extend = { left: 0, top: 0, right: 0, bottom: 0 };
  frame.begin(picture.width, picture.height, panel.chosenModel ?? { limits: {} });
  uncompare();
  showTools();
  showJob();
}

/** Masks are kept until the page is left. */
function leaveDraft() {
  if (!picture || mask.isEmpty) return;
  drafts.delete(picture.source);
  drafts.set(picture.source, mask);
  if (drafts.size > MOST_DRAFTS) drafts.delete(drafts.keys().next().value);
}

function setMode(next) {
  mode = next;
  $(`[value="${mode}"]`, modes).checked = true;
  panel.show(mode);
  brush.frozen = mode === "extend";
  frame.node.hidden = mode !== "extend";
  mask.canvas.hidden = mode === "extend";
  dialog.dataset.mode = mode;
  say(submit, mode === "extend" ? t`Extend` : t`Repaint`);
  uncompare();
  if (dialog.open) fit();
}

/** In extension there is room around the picture for the frame. */
function fit() {
  viewport.show(picture.width, picture.height, 8);
  const room = mode === "extend" ? 0.55 : 0.94;
  viewport.zoomBy(room);
}

function onForm() {
  content.style.setProperty("--feather", `${panel.feather.input.value}px`);
  if (picture && panel.chosenModel) frame.fit(panel.chosenModel);
}

function onMask() {
  complain(null);
  showTools();
}

function showTools() {
  for (const node of tools.querySelectorAll("[data-tool]")) node.setAttribute("aria-pressed", String(node.dataset.tool === brush.tool));
  size.value = toSlider(brush.size);
  size.style.setProperty("--filled", `${size.value}%`);
  $('[data-act="undo"]', tools).disabled = !mask.canUndo;
  $('[data-act="redo"]', tools).disabled = !mask.canRedo;
  box.dataset.tool = brush.tool;
}

const most = () => Math.max(mask.width, mask.height) / 2;
const fromSlider = (value) => 2 * (most() / 2) ** (value / 100);
const toSlider = (pixels) => (100 * Math.log(pixels / 2)) / Math.log(Math.max(2, most() / 2));

function request() {
  const model = panel.chosenModel;
  const { num_inference_steps: steps, guidance_scale: guidance, scheduler, loras } = givenSettings(picture.made ?? {});
  const same = picture.made?.model_id === model.id ? { ...(guidance ? { guidance_scale: guidance } : {}), ...(scheduler ? { scheduler } : {}), ...(loras ? { loras } : {}), ...(steps ? { num_inference_steps: steps } : {}) } : {};
  const negative = picture.made?.negative_prompt && model.negative_prompt !== false ? { negative_prompt: picture.made.negative_prompt } : {};
  const base = { prompt: panel.prompt.value, model_id: model.id, ...negative };
  if (mode === "extend") return { ...base, inputs: [{ role: "image", source: picture.source, extend: frame.extend }], settings: { ...same, seed: -1 } };
  return { ...base, image: picture.source, mask: mask.toUri(), settings: { ...same, ...panel.settings, seed: -1 } };
}

function problemOf() {
  if (!panel.chosenModel) return t`No model here can repaint a part of a picture.`;
  if (!panel.prompt.value.trim()) return t`Say what should be there.`;
  if (mode === "extend" && frame.isEmpty) return t`Drag a side of the frame outwards first.`;
  if (mode === "repaint" && mask.isEmpty) return t`Paint over the part that should change first.`;
  return null;
}

async function generate() {
  const wrong = problemOf();
  complain(wrong);
  if (wrong || submit.getAttribute("aria-busy") === "true") return;
  submit.setAttribute("aria-busy", "true");
  uncompare();
  try {
    const extend = mode === "extend" ? { ...frame.extend } : null;
    job = await send(request(), { waiting: () => say(state, t`Waiting for the server…`) });
    job.extend = extend;
    showJob();
  } catch (error) {
    complain(error.message);
  } finally {
    submit.removeAttribute("aria-busy");
  }
}

function complain(sentence) {
  problem.hidden = !sentence;
  say(problem, sentence ?? "");
}

function showJob() {
  const running = job && isActive(job);
  bar.hidden = !running;
  if (running && isMeasured(job)) bar.value = job.progress.percent;
  else bar.removeAttribute("value");
  say(state, running ? [statusText(job), remainingText(job)].filter(Boolean).join(", ") : job?.status === "FAILED" ? (job.error ? told(job.error.code, job.error.message) : t`It failed.`) : job?.status === "CANCELLED" ? t`Cancelled.` : "");
  strip.hidden = !results.length;
  const original = { url: picture?.url, shown: picture?.url, label: t`Original` };
  const one = (result) => el("li", {}, el("button", { type: "button", "aria-label": result.label, onclick: () => (result === original ? uncompare() : compare(result)) }, el("img", { src: result.shown, alt: "" })));
  strip.replaceChildren(...(results.length ? [original, ...results] : []).map(one));
}

function onJob(changed, before) {
  if (!job || changed?.job_id !== job.job_id) return;
  if (changed.status === "COMPLETED" && before !== "COMPLETED" && changed.images?.length) finish(changed);
  showJob();
}

function finish({ images, prompt }) {
  const made = images.map((image, at) => ({ ...image, prompt, shown: image.thumbnail_url, extend: job.extend, label: t`Result ${results.length + at + 1}` }));
  results.push(...made);
  compare(made[0]);
  announce(t`Finished. The slider shows it beside the original.`);
}

/** The result beside the original, which lies inside an extended one. */
function compare(result) {
  uncompare();
  const { extend } = result;
  const inset = extend && { left: extend.left / result.width, top: extend.top / result.height, width: picture.width / result.width, height: picture.height / result.height };
  const shown = compareSlider({ url: picture.url, label: t`Before` }, { ...result, label: t`After` }, inset);
  box.hidden = true;
  stage.append(shown);
  dialog.dataset.compared = "true";
  after.hidden = false;
  after.replaceChildren(
    button(t`Paint again`, "brush", () => (uncompare(), box.focus()), { class: "quiet strong" }),
    button(t`Go on with this result`, "enter", () => goOn(result)),
  );
  $("input", shown)?.focus();
}

async function goOn(result) {
  const next = await recipe(result).catch(() => null);
  await show({ source: result.image_id, url: result.url, prompt: panel.prompt.value, made: next });
  setMode(mode);
  fit();
  box.focus();
}

function uncompare() {
  $(".compare", stage)?.remove();
  box.hidden = false;
  after.hidden = true;
  delete dialog.dataset.compared;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
jobs.changed.on(onJob);
dialog.addEventListener("close", leaveDraft);
dialog.addEventListener("keydown", (event) => {
  event.stopPropagation(); // the gallery has keys of its own
  const typing = event.target.closest("textarea, select, input:not([type=range], [type=radio], [type=checkbox])");
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key === "Enter") return generate();
  if (typing) return;
  if (command && event.key.toLowerCase() === "z") {
    event.preventDefault();
    return event.shiftKey ? mask.redo() : mask.undo();
  }
  if (command && event.key.toLowerCase() === "y") return mask.redo();
  if (command || event.altKey) return;
  const run = { b: () => brush.choose("brush"), e: () => brush.choose("eraser"), l: () => brush.choose("lasso"), h: () => brush.choose("hand"), i: () => mask.invert(), c: () => mask.clear(), "[": brush.smaller, "]": brush.larger, 0: fit, "+": () => viewport.zoomBy(1.25), "-": () => viewport.zoomBy(0.8), 1: () => viewport.actualSize() }[event.key.toLowerCase()];
  if (run && !event.target.closest("input[type=range]")) run();
});
