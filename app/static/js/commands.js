// What the palette offers: the views, what the shown view and the header have buttons for, models, presets, languages.

import { catalog } from "./catalog.js";
import { $, $$ } from "./dom.js";
import { fill } from "./form-state.js";
import { chooseLanguage, LANGUAGES } from "./language.js";
import { choose, chosen } from "./picker.js";
import { storedPresets } from "./presets.js";
import { language, t } from "./strings.js";

const CONTROLS = "button, summary, a[href][class], input[type=radio]";
const REPEATED = "li, td, #toasts, .tabs, .skip, .server-status, .brand"; // of each picture, job or example; and views

/** All commands of now: {group, name, key, words, run}. */
export function commands() {
  const dialog = $$("dialog[open]:not(.palette)").at(-1); // nothing behind it can be used
  const here = dialog ?? $('main > .view:not([hidden])');
  const controls = [...$$(CONTROLS, here), ...(dialog ? [] : $$(CONTROLS, $(".top")))].filter((node) => !node.closest(REPEATED));
  return [
    ...controls.filter(isUsable).map(ofControl),
    ...(dialog ? [] : [...$$(".tabs a:not([hidden])").map(ofView), ...catalog.models.map(ofModel), ...storedPresets().map(ofPreset)]),
    ...Object.entries(LANGUAGES).filter(([code]) => code !== language).map(([code, name]) => ({ group: t`Language`, name, words: code, run: () => chooseLanguage(code) })),
  ];
}

/** Also in a part that is folded, which is opened then. */
const isUsable = (node) => (node.checkVisibility() || (foldOf(node)?.checkVisibility() && !node.closest("[hidden]"))) && !node.disabled && !node.checked && nameOf(node);
const foldOf = (node) => (node.matches("summary") ? null : node.closest("details:not([open])"));

/** As a screen reader says it, without the key that is written on it. */
export function nameOf(node) {
  const said = node.getAttribute("aria-label") ?? textOf(node.closest("label") ?? node);
  const group = node.type === "radio" ? textOf(node.closest("fieldset")?.querySelector("legend")) : "";
  return [group, said.replace(/\s+/g, " ").trim()].filter(Boolean).join(": ");
}

/** Without keys and values, which change. */
function textOf(node) {
  if (!node) return "";
  const copy = node.cloneNode(true);
  for (const part of $$("kbd, output, .value, .badge", copy)) part.remove();
  return copy.textContent.trim();
}

const ofControl = (node) => ({ group: t`Actions`, name: nameOf(node), key: $("kbd", node)?.textContent ?? keyIn(node.title), words: node.title, run: () => use(node) });

/** The key in a title such as "Fit (0)". */
const keyIn = (title) => /\(([^()\s]{1,6})\)$/.exec(title)?.[1] ?? "";

function use(node) {
  const fold = foldOf(node);
  if (fold) fold.open = true;
  node.focus();
  node.click();
}

const ofView = (link) => ({ group: t`Views`, name: textOf(link), words: "go to view", run: () => link.click() });

const ofModel = ({ id, name, description }) => ({
  group: t`Models`,
  name: id === chosen()?.id ? t`${name} (chosen)` : name,
  words: [id, description, "model"].join(" "),
  run() {
    choose(id);
    location.hash = "#/";
  },
});

const ofPreset = ({ name, form }) => ({ group: t`Presets`, name, words: "preset", run: () => fill({ ...form, prompt: $("#prompt").value }) });
