// The dialog of prompts that were sent, and of settings that were kept under a name.

import { button, el, icon, say } from "./dom.js";
import { defaults, fill, forgetPrompt, promptHistory, snapshot } from "./form-state.js";
import { ago, plural } from "./format.js";
import { toast } from "./notices.js";
import { keepPreset, removePreset, storedPresets } from "./presets.js";
import { t } from "./strings.js";

const SHOWN = 60;
const search = el("input", { type: "search", placeholder: t`Search your prompts`, "aria-label": t`Search your prompts`, oninput: showPrompts });
const list = el("ul", { class: "prompts" });
const presets = el("ul", { class: "presets", "aria-label": t`Presets` });
const name = el("input", { type: "text", maxlength: 60, placeholder: t`Name`, "aria-label": t`Name of the preset`, autocomplete: "off" });
const note = el("p", { class: "note", role: "status" });
const saving = el("form", { class: "preset-form" }, name, el("button", { type: "submit", class: "quiet" }, t`Keep these settings`));
const dialog = el(
  "dialog",
  { class: "prompts-dialog", id: "prompts", "aria-labelledby": "prompts-title" },
  el("h2", { id: "prompts-title" }, t`Prompts and presets`),
  button(null, "close", () => dialog.close(), { class: "round small picker-close", "aria-label": t`Close` }),
  el("section", { "aria-label": t`Presets` }, el("h3", {}, t`Presets`), presets, saving, el("div", { class: "preset-form" }, button(t`Make these my defaults`, null, keepDefaults), button(t`Back to my defaults`, "undo", useDefaults))),
  el("section", { "aria-label": t`Prompts` }, el("h3", {}, t`Your prompts`), search, note, list),
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
  say(note, found.length ? (words.length ? plural(found.length, "prompt") : "") : words.length ? t`Nothing matches.` : t`What you send is listed here, in this browser only.`);
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
    el("button", { type: "button", class: "prompt-row", onclick: () => use(kept), title: t`Put prompt and settings into the form` }, el("span", { dir: "auto" }, kept.prompt), el("small", {}, [kept.model_id, ago(new Date(kept.at).toISOString())].filter(Boolean).join(" · "))),
    el("button", { type: "button", class: "round small", "aria-label": t`Forget “${kept.prompt.slice(0, 40)}”`, onclick: forget }, icon("close")),
  );
}

async function use(kept) {
  dialog.close();
  await fill(kept);
}

function showPresets() {
  const forget = (one) => {
    removePreset(one.name);
    showPresets();
    name.focus();
  };
  // The prompt that is in the form stays: a preset is how, not what.
  const apply = (one) => use({ ...one.form, prompt: document.querySelector("#prompt").value });
  presets.replaceChildren(...storedPresets().map((one) => el("li", { class: "tag" }, el("button", { type: "button", class: "preset", dir: "auto", onclick: () => apply(one) }, one.name), el("button", { type: "button", "aria-label": t`Remove the preset ${one.name}`, onclick: () => forget(one) }, icon("close")))));
}

function keep(event) {
  event.preventDefault();
  const wanted = name.value.trim();
  if (!wanted) return name.focus();
  const { prompt: _, ...form } = snapshot();
  keepPreset(wanted, form);
  name.value = "";
  showPresets();
  toast(t`“${wanted}” is kept`, { stay: 3 });
}

function keepDefaults() {
  const { prompt: _, ...form } = snapshot();
  defaults.write(form);
  toast(t`The form begins like this from now on`, { stay: 3 });
}

function useDefaults() {
  const kept = defaults.read();
  if (!kept) return toast(t`There are none yet: set up the form, and make it your defaults.`);
  use({ ...kept, prompt: document.querySelector("#prompt").value });
}

saving.addEventListener("submit", keep);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
