// The dialog that makes a video of a picture. What was typed for a picture stays until it was accepted.

import { button, el, say } from "./dom.js";
import { memory } from "./memory.js";
import { send } from "./send.js";

let item = null;
let models = [];
let leave = null;
let sending = false;

const picture = el("img", { class: "film-picture", alt: "" });
const select = el("select", { id: "film-model", onchange: describe });
const about = el("p", { class: "note", id: "film-about" });
const prompt = el("textarea", { id: "film-prompt", rows: 4, placeholder: "What happens in it?", "aria-describedby": "film-error", oninput: () => complain(null) });
const problem = el("p", { class: "form-error", id: "film-error", role: "alert", hidden: true });
const submit = el("button", { class: "primary", type: "submit" }, "Generate");
const form = el(
  "form",
  { class: "film-form", novalidate: true, onsubmit: make },
  el("h2", { id: "film-title" }, "Make a video"),
  picture,
  el("div", { class: "field" }, el("label", { for: "film-model" }, "Model"), el("span", { class: "select" }, select), about),
  el("div", { class: "field" }, el("label", { for: "film-prompt" }, "What happens"), prompt),
  problem,
  submit,
);
const dialog = el(
  "dialog",
  { class: "film", id: "film", "aria-labelledby": "film-title" },
  form,
  button(null, "close", () => dialog.close(), { class: "round small film-close", "aria-label": "Close" }),
);
document.body.append(dialog);

/** `leave` is awaited when the video was accepted, before the stage is shown. */
export function open(given, offered, left) {
  if (sending) return;
  if (item?.image_id !== given.image_id) {
    prompt.value = given.prompt;
    complain(null);
  }
  [item, models, leave] = [given, offered, left];
  picture.src = given.thumbnail_url;
  picture.alt = given.prompt;
  const wanted = [select.value, memory.read("lastVideoModel")];
  select.replaceChildren(...models.map(({ model, name }) => el("option", { value: model }, name)));
  select.value = wanted.find((name) => models.some(({ model }) => model === name)) ?? models[0].model;
  describe();
  dialog.showModal();
  prompt.focus();
}

const chosen = () => models.find(({ model }) => model === select.value);

function describe() {
  say(about, chosen().description);
  complain(null);
}

async function make(event) {
  event.preventDefault();
  if (sending) return;
  const { model, model_id: modelId } = chosen();
  const words = prompt.value.trim();
  const request = { model, source_image_id: item.image_id, input: words ? { prompt: words } : {} };
  const job = { prompt: words, model_id: modelId, settings: {} };
  complain(null);
  busy(true, "Sending…");
  try {
    await send(request, { to: "/api/run-video-model", job, waiting: () => busy(true, "Waiting for the server…"), accepted: done });
    memory.write("lastVideoModel", model);
  } catch (error) {
    complain(sentenceOf(error), error.errors);
  } finally {
    busy(false, "Generate");
  }
}

async function done() {
  item = null; // the next one begins with the picture's own prompt
  dialog.close();
  await leave();
  location.hash = "#/";
}

/** The server names fields as requests do; here they go by the words of this dialog. */
function sentenceOf({ message, errors = [] }) {
  const named = errors.filter(({ field }) => field.startsWith("input."));
  if (!named.length) return message;
  return named.map(({ field, message: why }) => `${field.replace("input.", "").replaceAll("_", " ")} ${why}`).join("; ");
}

function complain(sentence, errors = []) {
  problem.hidden = !sentence;
  say(problem, sentence ?? "");
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
