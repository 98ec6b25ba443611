// The models view: what is on this machine and what it can draw with, downloads, and the LoRAs.

import { isAdmin } from "./access.js";
import { get } from "./api.js";
import { catalog, loadCatalog } from "./catalog.js";
import { $, el, say } from "./dom.js";
import { plural } from "./format.js";
import { cancelLoad, load, loading, removeFiles, unload } from "./model-loading.js";
import { loraCard, modelCard, patchCard } from "./model-cards.js";
import { t } from "./strings.js";

const POLL_MILLISECONDS = 8000;
const BUSY_MILLISECONDS = 1500; // while something is loaded or downloaded
const SHOWS = [["here", t`On this machine`], ["fitting", t`Could be here`], ["all", t`All`], ["loras", t`LoRAs`]];
const parts = {};
const cards = new Map(); // model id → its card
let loras = [];
let timer = null;
let words = "";

export function build(root) {
  const search = el("input", { type: "search", id: "models-search", placeholder: t`Search models and LoRAs`, "aria-label": t`Search models and LoRAs`, oninput: () => ((words = search.value), render()) });
  const radio = ([value, label], at) => el("label", {}, el("input", { type: "radio", name: "models-show", value, checked: at === 0, onchange: render }), label);
  parts.show = el("fieldset", { class: "segments" }, el("legend", { class: "unseen" }, t`Show`), SHOWS.map(radio));
  parts.models = el("ul", { class: "model-cards" });
  parts.none = el("p", { class: "none", hidden: true });
  parts.loras = el("ul", { class: "model-cards" });
  parts.noLoras = el("p", { class: "none", hidden: true });
  root.append(
    el("header", { class: "view-head" }, el("h1", { id: "models-title", tabindex: "-1" }, t`Models`), el("div", { class: "search" }, search), parts.show),
    (parts.section = el("section", { class: "model-part", "aria-label": t`Models of this server` }, el("h2", { class: "unseen" }, t`Models of this server`), (parts.total = el("p", { class: "note", role: "status" })), parts.models, parts.none)),
    el("section", { class: "model-part", "aria-label": t`LoRAs` }, el("header", { class: "section-head" }, el("h2", {}, t`LoRAs`)), parts.loras, parts.noLoras),
  );
  loading.changed.on(() => shownNow() && refresh());
  catalog.changed.on(() => shownNow() && render()); // also when it turns out who is signed in
}

const shownNow = () => !$('main > [data-view="models"]').hidden;

export function show() {
  render();
  refresh();
  refreshLoras();
}

export function hide() {
  clearTimeout(timer);
  timer = null;
}

async function refresh() {
  clearTimeout(timer);
  await loadCatalog().catch(() => {}); // the banner reports that the server does not answer
  if (!shownNow()) return;
  const busy = loading.ids().length || catalog.models.some(({ downloading }) => downloading);
  timer = setTimeout(refresh, busy ? BUSY_MILLISECONDS : POLL_MILLISECONDS);
}

async function refreshLoras() {
  try {
    loras = (await get("api/loras")).loras;
  } catch {
    return; // the list keeps its contents
  }
  render();
}

const matches = (...texts) => words.toLowerCase().split(/\s+/).filter(Boolean).every((word) => texts.some((text) => text?.toLowerCase().includes(word)));

function render() {
  const which = $("input:checked", parts.show).value;
  const isHere = (model) => model.available || model.downloading || loading.has(model.id) || (model.bytes ?? 0) > 0;
  const wanted = { here: isHere, fitting: (model) => !isHere(model) && model.fits.answer !== "no", all: () => true, loras: () => false }[which];
  parts.section.hidden = which === "loras";
  const found = catalog.models.filter((model) => wanted(model) && matches(model.id, model.name, model.repo, model.description));
  for (const [id, card] of cards) if (!found.some((model) => model.id === id)) cards.delete(id) && card.remove();
  const actions = { load, unload, cancelLoad, removeFiles, isAdmin: isAdmin() };
  found.forEach((model, at) => {
    if (!cards.has(model.id)) cards.set(model.id, modelCard(model));
    const card = cards.get(model.id);
    patchCard(card, model, loading.has(model.id), actions);
    if (parts.models.children[at] !== card) parts.models.insertBefore(card, parts.models.children[at] ?? null);
  });
  say(parts.total, plural(found.length, "model"));
  parts.none.hidden = found.length > 0;
  say(parts.none, words ? t`No model matches.` : which === "here" ? t`No model is on this machine yet. “Could be here” lists those that it can draw with.` : t`None.`);
  renderLoras();
}

function renderLoras() {
  const found = loras.filter((lora) => matches(lora.id, lora.family, lora.base_model, ...lora.trigger_words));
  const state = JSON.stringify(found);
  parts.noLoras.hidden = found.length > 0;
  say(parts.noLoras, words && loras.length ? t`No LoRA matches.` : t`There are none. Put .safetensors files into the folder LORAS_DIR.`);
  if (parts.loras.dataset.state === state) return; // what is focused stays
  parts.loras.dataset.state = state;
  parts.loras.replaceChildren(...found.map(loraCard));
}
