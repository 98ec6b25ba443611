// Cards of the models view.

import { modelOf } from "./catalog.js";
import { $, button, el, say } from "./dom.js";
import { addToPrompt } from "./examples.js";
import { bytes, plural, roughly } from "./format.js";
import { chosenLoras, setLoras } from "./loras.js";
import { announce, toast } from "./notices.js";
import { choose, chosen } from "./picker.js";
import { t } from "./strings.js";

const TASKS = { txt2img: t`pictures from words`, img2img: t`from a picture`, inpaint: t`repaints`, edit: t`edits`, txt2video: t`videos`, img2video: t`videos from a picture` };
const PLACES = { none: t`all of it in memory`, model: t`one part at a time`, group: t`block by block, slowly`, sequential: t`layer by layer, very slowly` };
const SHOWN_WORDS = 16;

export function modelCard(model) {
  const page = model.source === "huggingface" ? `https://huggingface.co/${model.repo}` : model.source === "replicate" ? `https://replicate.com/${model.repo}` : null;
  return el(
    "li",
    { class: "model-card", data: { id: model.id } },
    el("header", {}, el("h3", {}, model.name), el("span", { class: "chip state" })),
    el("p", { class: "about" }, model.description),
    el("p", { class: "facts" }, el("span", {}, model.tasks.map((task) => TASKS[task] ?? task).join(", ")), el("span", { class: "size" }), page ? el("a", { href: page, target: "_blank", rel: "noreferrer" }, t`Licence and files`) : el("span", {}, model.source === "builtin" ? t`built in` : model.repo)),
    el("p", { class: "note fit" }),
    el("div", { class: "load", hidden: true }, el("progress", { max: 100, "aria-label": t`Progress of ${model.name}` }), el("p", { class: "note load-words", role: "status" })),
    el("div", { class: "actions" }),
  );
}

/** `ordered` is whether this page has it loaded now; `act` has load, unload, cancelLoad, removeFiles, isAdmin. */
export function patchCard(card, model, ordered, act) {
  const state = stateOf(model, ordered);
  card.dataset.state = state;
  say($(".state", card), WORDS[state]);
  $(".state", card).dataset.status = state === "loaded" || state === "loading" ? "PROCESSING" : "";
  say($(".size", card), model.bytes ? t`${bytes(model.bytes)} on the disk` : "");
  say($(".fit", card), fitOf(model));
  $(".fit", card).classList.toggle("warn", model.fits.answer === "no");
  patchProgress(card, model, state);
  const wanted = [state, act.isAdmin, model.bytes > 0].join();
  const box = $(".actions", card);
  if (box.dataset.built === wanted) return; // what is focused stays
  box.dataset.built = wanted;
  const hadFocus = box.contains(document.activeElement);
  box.replaceChildren(...actionsOf(model, state, act).filter(Boolean));
  if (hadFocus) box.firstElementChild?.focus({ preventScroll: true });
}

const WORDS = { loaded: t`in memory`, loading: t`loading`, here: t`ready`, missing: t`not here`, provider: t`at a provider`, "no-key": t`needs a key` };

function stateOf(model, ordered) {
  if (model.lane === "remote") return model.available ? "provider" : "no-key";
  if (model.downloading || ordered) return "loading";
  return model.loaded ? "loaded" : model.available ? "here" : "missing";
}

/** Which memory plan it has or would have, or why it does not fit. */
function fitOf({ lane, fits, loaded, memory_plans: plans, killed_plans: killed, requires_auth: gated, available }) {
  if (lane === "remote") return available ? "" : t`The provider’s key is not set on the server.`;
  const plan = loaded && plans.length ? t`Held in ${plans.map(planInWords).join("; ")}.` : fits.answer === "yes" ? t`Fits this machine: ${planInWords(fits.plan)}.` : fits.reason;
  return [plan, killed.length && t`Ran out of memory lately: ${killed.map(planInWords).join("; ")}.`, gated && !available && t`Its licence has to be accepted there, and HF_TOKEN set.`].filter(Boolean).join(" ");
}

/** "16 bit, model" is the form of the weights, and where they are. */
const planInWords = (plan) => plan.split(", ").map((part) => PLACES[part] ?? part).join(", ");

function patchProgress(card, { downloading }, state) {
  const box = $(".load", card);
  box.hidden = state !== "loading";
  if (box.hidden) return;
  const bar = $("progress", box);
  if (downloading?.total_bytes) bar.value = (100 * downloading.downloaded_bytes) / downloading.total_bytes;
  else bar.removeAttribute("value");
  const left = downloading?.eta_seconds ? t`, about ${roughly(downloading.eta_seconds)} left` : "";
  say($(".load-words", box), downloading ? t`${bytes(downloading.downloaded_bytes)} of ${bytes(downloading.total_bytes)}${left}` : t`Waits for a worker, or is read from the disk`);
}

function actionsOf(model, state, act) {
  const use = () => {
    choose(model.id);
    location.hash = "#/";
  };
  const name = (words) => ({ "aria-label": `${words}: ${model.name}` });
  return [
    state !== "no-key" && button(t`Use`, "create", use, { ...name(t`Use`), class: state === "loaded" || state === "here" || state === "provider" ? "quiet strong" : "quiet" }),
    act.isAdmin && state === "here" && button(t`Load`, "enter", () => act.load(model), name(t`Load`)),
    act.isAdmin && state === "missing" && model.source !== "local" && button(t`Download`, "download", () => act.load(model), name(t`Download`)),
    act.isAdmin && state === "loaded" && button(t`Unload`, "leave", () => act.unload(model), name(t`Unload`)),
    act.isAdmin && state === "loading" && button(t`Cancel`, "close", () => act.cancelLoad(model), name(t`Cancel`)),
    act.isAdmin && model.source === "huggingface" && model.bytes > 0 && state !== "loading" && button(t`Delete files`, "trash", () => act.removeFiles(model), { ...name(t`Delete the files of`), class: "quiet danger" }),
  ];
}

export function loraCard(lora) {
  const models = lora.models.map((id) => modelOf(id)?.name ?? id);
  const facts = [lora.family ?? t`family not known`, lora.bytes && bytes(lora.bytes), lora.rank && t`rank ${lora.rank}`, lora.base_model];
  const word = (text) => el("button", { type: "button", class: "batch-chip", title: t`Add it to the prompt`, "aria-label": t`Add ${text} to the prompt`, onclick: () => addWord(text) }, text);
  return el(
    "li",
    { class: "model-card", data: { lora: lora.id } },
    el("header", {}, el("h3", {}, lora.id), !lora.available && el("span", { class: "chip", data: { status: "FAILED" } }, t`cannot be used`)),
    el("p", { class: "facts" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
    lora.problem && el("p", { class: "note warn" }, lora.problem),
    el("p", { class: "note" }, models.length ? t`For ${models.slice(0, 6).join(", ")}${models.length > 6 ? t` and ${plural(models.length - 6, "more model")}` : ""}` : t`None of the models here is of its family.`),
    lora.trigger_words.length > 0 && el("div", { class: "words" }, el("span", { class: "note" }, t`Trigger words`), lora.trigger_words.slice(0, SHOWN_WORDS).map(word)),
    el("div", { class: "actions" }, lora.available && models.length > 0 && useButton(lora)),
  );
}

/** Strength, and the button that puts the LoRA into the form; with a model that it fits. */
function useButton(lora) {
  const strength = el("input", { type: "number", min: 0, max: 2, step: 0.05, value: 1, "aria-label": t`Strength of ${lora.id}` });
  const use = () => {
    if (!lora.models.includes(chosen()?.id)) choose(lora.models.find((id) => modelOf(id)?.available) ?? lora.models[0]);
    const others = chosenLoras(chosen()).filter(({ id }) => id !== lora.id);
    setLoras([...others, { id: lora.id, scale: Math.min(2, Math.max(0, Number(strength.value) || 0)) }]);
    $(".fine").open = true;
    location.hash = "#/";
    announce(t`${lora.id} is in the form.`);
  };
  return el("div", { class: "lora-use" }, el("label", {}, el("span", {}, t`Strength`), strength), button(t`Use`, "create", use, { class: "quiet strong", "aria-label": t`Use: ${lora.id}` }));
}

function addWord(text) {
  addToPrompt(text);
  toast(t`“${text}” is in the prompt`, { stay: 2.5 });
}
