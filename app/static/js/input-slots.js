// Slots of the form for controls and references: pictures whose composition or look a model takes over. Loaded with the
// first model that has such roles.

import { $, button, el, say } from "./dom.js";
import { decimal } from "./format.js";
import { addInput, chosenInputs, scaled, setInputs } from "./input-image.js";
import { announce } from "./notices.js";
import { chosen } from "./picker.js";
import { style } from "./router.js";
import { paint } from "./steps.js";
import { t } from "./strings.js";

const ready = style("input-list");
const LABELS = { control: t`Control`, reference: t`Reference` };
const NOUNS = { control: t`control`, reference: t`reference` };
const ABOUT = { control: t`Its composition: edges, depth or a pose`, reference: t`Its look` };
const PROCESSORS = [["none", t`It is one already`], ["canny", t`Edges of it`], ["tile", t`Its colours`], ["depth", t`Its depth`], ["lineart", t`Its lines`], ["pose", t`Poses of people`], ["seg", t`Its parts by kind`]];
const list = el("ul", { class: "slots", id: "input-slots", "aria-label": t`Controls and references` });
const adders = el("div", { class: "input-actions slot-actions" });
const file = el("input", { type: "file", accept: "image/*", hidden: true, "aria-label": t`Picture for a control or reference` });
let role = "control";

/** Shows `inputs`, and buttons for the roles that `model` takes beside its start picture. */
export async function show(inputs, model) {
  await ready;
  if (!list.isConnected) $("#start").after(el("div", { class: "slot-box" }, list, adders, file));
  const roles = Object.keys(LABELS).filter((one) => hasRole(model, one));
  list.replaceChildren(...inputs.map((input, at) => item(input, at, model)));
  adders.replaceChildren(...roles.map((one) => button(`${LABELS[one]}…`, "file", () => choose(one), { title: ABOUT[one], id: `add-${one}` })));
  list.parentNode.hidden = !inputs.length && !roles.length;
}

const hasRole = (model, one) => Boolean(model?.roles?.includes(one)) && (one === "control" || model.reference_models?.length > 0);

function item(input, at, model) {
  const { role: kind, shown, name } = input;
  const used = hasRole(model, kind);
  const value = el("output", { class: "value" });
  const weight = el("input", { type: "range", min: 0, max: 2, step: 0.05, value: input.weight ?? 1, "aria-label": t`Weight of ${NOUNS[kind]} ${at + 1}` });
  const told = () => {
    say(value, decimal(weight.value, 2));
    paint(weight);
  };
  weight.addEventListener("input", () => {
    told();
    change(at, { weight: Number(weight.value) }, false);
  });
  told();
  return el(
    "li",
    { data: { used: String(used), role: kind } },
    el("img", { src: shown, alt: name }),
    el(
      "div",
      { class: "slot-fields" },
      el("p", { class: "slot-head" }, `${LABELS[kind]} `, value),
      weight,
      kind === "control" && select(t`How control ${at + 1} is read`, PROCESSORS, input.processor ?? "none", (processor) => change(at, { processor })),
      auxiliaries(kind, model).length > 1 && select(t`Model of ${NOUNS[kind]} ${at + 1}`, [["", t`The one that fits`], ...auxiliaries(kind, model).map((id) => [id, id])], input.model ?? "", (id) => change(at, { model: id || undefined })),
      !used && el("p", { class: "note warn" }, t`${model?.name ?? t`This model`} takes no ${NOUNS[kind]}; it is kept for one that does.`),
    ),
    button(null, "close", () => remove(at), { class: "round small", "aria-label": t`Remove ${NOUNS[kind]} ${at + 1}` }),
  );
}

const auxiliaries = (kind, model) => (kind === "control" ? model?.control_models : model?.reference_models) ?? [];

function select(label, options, value, changed) {
  const node = el("select", { "aria-label": label, onchange: () => changed(node.value) }, options.map(([key, text]) => new Option(text, key, false, key === value)));
  return el("span", { class: "select" }, node);
}

function change(at, fields, redraw = true) {
  const { others, ...rest } = chosenInputs();
  Object.assign(others[at], fields);
  for (const name of Object.keys(fields)) if (fields[name] === undefined) delete others[at][name];
  if (redraw) setInputs({ ...rest, others });
}

function remove(at) {
  const { others, ...rest } = chosenInputs();
  announce(t`${LABELS[others[at].role]} ${at + 1} was removed.`);
  setInputs({ ...rest, others: others.filter((_, other) => other !== at) });
  (adders.querySelector("button") ?? $("#prompt")).focus();
}

async function choose(kind) {
  role = kind;
  const [{ pick }] = await Promise.all([import("./gallery-picker.js"), style("model-form")]);
  const item = await pick({ upload: () => file.click() });
  if (item) add(kind, { source: item.image_id, shown: item.thumbnail_url, name: item.prompt });
}

/** A control's picture becomes one by its edges, until something else is chosen. */
export function add(kind, picture) {
  const model = chosen();
  const first = auxiliaries(kind, model)[0];
  addInput({ role: kind, ...picture, ...(kind === "control" ? { processor: "canny" } : {}), ...(kind === "reference" && first ? { model: first } : {}) });
}

file.addEventListener("change", async () => {
  const [one] = file.files;
  file.value = "";
  const uri = one && (await scaled(one).catch(() => null));
  if (uri) add(role, { source: uri, shown: uri, name: one.name });
});
