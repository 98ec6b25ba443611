// The dialog of prompts that were sent, and of settings that were kept under a name.

import { button, el, icon, say } from "./dom.js";
import { defaults, fill, forgetPrompt, promptHistory, snapshot } from "./form-state.js";
import { ago, plural } from "./format.js";
import { toast } from "./notices.js";
import { localStore } from "./storage.js";

const KEY = "presets";
const MOST_PRESETS = 50;
const SHOWN = 60;
const search = el("input", { type: "search", placeholder: "Search your prompts", "aria-label": "Search your prompts", oninput: showPrompts });
const list = el("ul", { class: "prompts" });
const presets = el("ul", { class: "presets", "aria-label": "Presets" });
const name = el("input", { type: "text", maxlength: 60, placeholder: "Name", "aria-label": "Name of the preset", autocomplete: "off" });
const note = el("p", { class: "note", role: "status" });
const saving = el("form", { class: "preset-form" }, name, el("button", { type: "submit", class: "quiet" }, "Keep these settings"));
const dialog = el(
  "dialog",
  { class: "prompts-dialog", id: "prompts", "aria-labelledby": "prompts-title" },
  el("h2", { id: "prompts-title" }, "Prompts and presets"),
  button(null, "close", () => dialog.close(), { class: "round small picker-close", "aria-label": "Close" }),
  el("section", { "aria-label": "Presets" }, el("h3", {}, "Presets"), presets, saving, el("div", { class: "preset-form" }, button("Make these my defaults", null, keepDefaults), button("Back to my defaults", "undo", useDefaults))),
  el("section", { "aria-label": "Prompts" }, el("h3", {}, "Your prompts"), search, note, list),
);
document.body.append(dialog);

export function open() {
  search.value = "";
  showPresets();
  showPrompts();
  dialog.showModal();
  search.focus();
}

function showPrompts() {
  const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = promptHistory().filter(({ prompt }) => words.every((word) => prompt.toLocaleLowerCase().includes(word)));
  say(note, found.length ? (words.length ? plural(found.length, "prompt") : "") : words.length ? "Nothing matches." : "What you send is listed here, in this browser only.");
  list.replaceChildren(...found.slice(0, SHOWN).map(row));
}

function row(kept) {
  const forget = () => {
    forgetPrompt(kept.prompt);
    showPrompts();
    search.focus();
  };
  return el(
    "li",
    {},
    el("button", { type: "button", class: "prompt-row", onclick: () => use(kept), title: "Put prompt and settings into the form" }, el("span", { dir: "auto" }, kept.prompt), el("small", {}, [kept.model_id, ago(new Date(kept.at).toISOString())].filter(Boolean).join(" · "))),
    el("button", { type: "button", class: "round small", "aria-label": `Forget “${kept.prompt.slice(0, 40)}”`, onclick: forget }, icon("close")),
  );
}

async function use(kept) {
  dialog.close();
  await fill(kept);
}

function readPresets() {
  const found = localStore.readJson(KEY, []);
  return Array.isArray(found) ? found.filter((one) => typeof one?.name === "string" && one.form) : [];
}

function showPresets() {
  const forget = (one) => {
    localStore.write(KEY, JSON.stringify(readPresets().filter((other) => other.name !== one.name)));
    showPresets();
    name.focus();
  };
  // The prompt that is in the form stays: a preset is how, not what.
  const apply = (one) => use({ ...one.form, prompt: document.querySelector("#prompt").value });
  presets.replaceChildren(...readPresets().map((one) => el("li", { class: "tag" }, el("button", { type: "button", class: "preset", onclick: () => apply(one) }, one.name), el("button", { type: "button", "aria-label": `Remove the preset ${one.name}`, onclick: () => forget(one) }, icon("close")))));
}

function keep(event) {
  event.preventDefault();
  const wanted = name.value.trim();
  if (!wanted) return name.focus();
  const { prompt: _, ...form } = snapshot();
  const others = readPresets().filter((one) => one.name !== wanted);
  localStore.write(KEY, JSON.stringify([...others, { name: wanted, form }].slice(-MOST_PRESETS)));
  name.value = "";
  showPresets();
  toast(`“${wanted}” is kept`, { stay: 3 });
}

function keepDefaults() {
  const { prompt: _, ...form } = snapshot();
  defaults.write(form);
  toast("The form begins like this from now on", { stay: 3 });
}

function useDefaults() {
  const kept = defaults.read();
  if (!kept) return toast("There are none yet: set up the form, and make it your defaults.");
  use({ ...kept, prompt: document.querySelector("#prompt").value });
}

saving.addEventListener("submit", keep);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
