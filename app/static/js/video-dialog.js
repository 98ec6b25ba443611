// The dialog that submits a video of an image. Keeps its input until the request is accepted.

import { get } from "./api.js";
import { button, el, say } from "./dom.js";
import { markFields, sentenceOf } from "./field-errors.js";
import { bound, lengthOf, snap } from "./length.js";
import { style } from "./router.js";
import { send } from "./send.js";
import { localStore } from "./storage.js";
import { t } from "./strings.js";

let item = null;
let models = [];
let leave = null;
let sending = false;
let described = null; // the model whose fields are shown

const picture = el("img", { class: "video-picture", src: "data:,", alt: "" });
const select = el("select", { id: "video-model", onchange: describe });
const about = el("p", { class: "note", id: "video-about" });
const prompt = el("textarea", { id: "video-prompt", rows: 4, placeholder: t`What happens in it?`, "aria-describedby": "video-error", oninput: () => complain(null) });
const frames = el("input", { id: "video-frames", type: "number", inputmode: "numeric", onchange: () => snap(frames) });
const fps = el("input", { id: "video-fps", type: "number", inputmode: "numeric", onchange: () => snap(fps) });
const length = el("div", { class: "free-size" }, el("label", { for: "video-frames" }, t`Frames`), frames, el("i"), el("label", { for: "video-fps" }, t`A second`), fps);
const more = el("div", { class: "video-more" }); // other required inputs of a provider's model
let fields = []; // theirs
const problem = el("p", { class: "form-error", id: "video-error", role: "alert", hidden: true });
const submit = el("button", { class: "primary", type: "submit" }, t`Generate`);
const form = el(
  "form",
  { class: "video-form", novalidate: true, onsubmit: make },
  el("h2", { id: "video-title" }, t`Make a video`),
  picture,
  el("div", { class: "field" }, el("label", { for: "video-model" }, t`Model`), el("span", { class: "select" }, select), about),
  el("div", { class: "field" }, el("label", { for: "video-prompt" }, t`What happens`), prompt),
  length,
  more,
  problem,
  submit,
);
const dialog = el(
  "dialog",
  { class: "video-dialog", id: "video-dialog", "aria-labelledby": "video-title" },
  form,
  button(null, "close", () => dialog.close(), { class: "round small video-close", "aria-label": t`Close` }),
);
document.body.append(dialog);

/** `left` is awaited after the video was accepted, before the create view is shown. */
export function open(given, offered, left) {
  if (sending) return;
  if (item?.image_id !== given.image_id) {
    prompt.value = given.prompt;
    complain(null);
  }
  [item, models, leave] = [given, offered, left];
  picture.src = given.thumbnail_url;
  picture.alt = given.prompt;
  const wanted = [select.value, localStore.read("lastVideoModel")];
  select.replaceChildren(...models.map((one) => el("option", { value: keyOf(one) }, one.name)));
  select.value = wanted.find((key) => models.some((one) => keyOf(one) === key)) ?? keyOf(models[0]);
  describe();
  dialog.showModal();
  prompt.focus();
}

const isHere = ({ lane }) => lane === "local";
const keyOf = (one) => (isHere(one) ? one.id : one.model); // a provider's model has a slash in its name
const chosen = () => models.find((one) => keyOf(one) === select.value);

function describe() {
  const one = chosen();
  complain(null);
  if (described === one) return; // keeps the input in its fields
  described = one;
  say(about, one.available === false ? t`${one.description} · downloads first` : one.description);
  length.hidden = !isHere(one);
  showFields([]);
  if (isHere(one)) bound(frames, fps, one);
  else loadFields(one);
}

/** Without the schema no fields are shown, and the server reports missing inputs. */
async function loadFields(one) {
  try {
    const [schema, { makeField }] = await Promise.all([get(one.schema_url), import("./model-fields.js"), style("model-form")]);
    const wanted = ({ name, required, default: usual }) => required && usual === null && name !== one.first_frame && name !== "prompt";
    if (described === one) showFields(schema.fields.filter(wanted).map((field) => makeField(field, () => complain(null), "video")));
  } catch {
    if (described === one) described = null; // the next time
  }
}

function showFields(next) {
  fields = next;
  for (const field of fields) field.set(field.default);
  more.replaceChildren(...fields.map(({ node }) => node));
}

function requestOf(one, words) {
  if (isHere(one)) return { prompt: words, model_id: one.id, image: item.image_id, settings: lengthOf(frames, fps) };
  const inputs = fields.map((field) => [field.name, field.value()]).filter(([, value]) => value !== undefined);
  return { model: one.model, source_image_id: item.image_id, input: { ...Object.fromEntries(inputs), ...(words ? { prompt: words } : {}) } };
}

async function make(event) {
  event.preventDefault();
  if (sending) return;
  const one = chosen();
  const words = prompt.value.trim();
  const request = requestOf(one, words);
  const job = isHere(one) ? request : { prompt: words, model_id: one.model_id, settings: {} };
  complain(null);
  busy(true, t`Sending…`);
  try {
    await send(request, { to: isHere(one) ? "api/generate" : "api/run-video-model", job, waiting: () => busy(true, t`Waiting for the server…`), accepted: done });
    localStore.write("lastVideoModel", keyOf(one));
  } catch (error) {
    complain(sentenceOf(error.errors ?? [], fields) ?? error.message, error.errors);
  } finally {
    busy(false, t`Generate`);
  }
}

async function done() {
  item = null; // the next video starts with the image's own prompt
  dialog.close();
  await leave();
  location.hash = "#/";
}

function complain(sentence, errors = []) {
  problem.hidden = !sentence;
  say(problem, sentence ?? "");
  markFields(fields, errors);
  const atFault = errors.some(({ field }) => field === "prompt" || field === "input.prompt");
  prompt.setAttribute("aria-invalid", String(atFault));
  if (atFault) prompt.focus();
}

function busy(now, words) {
  sending = now;
  submit.setAttribute("aria-busy", String(now));
  say(submit, words);
}

dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});
addEventListener("popstate", () => dialog.open && dialog.close()); // the phone's back button
