// The form beside the canvas: what is to be painted, by which model, and how.

import { catalog } from "../catalog.js";
import { el, say } from "../dom.js";
import { SIDE_WORDS } from "../input-image.js";
import { chosen } from "../picker.js";
import { paint } from "../steps.js";
import { t } from "../strings.js";

const SIDES = ["left", "top", "right", "bottom"];

/** Models that repaint a part, those of this machine first. */
const painters = () => catalog.models.filter(({ tasks, lane }) => lane !== "remote" && tasks.includes("inpaint")).sort((a, b) => b.available - a.available);

export class Panel {
  /** `on` has changed(), and extend(sides). */
  constructor(on) {
    this.on = on;
    this.prompt = el("textarea", { id: "canvas-prompt", rows: 3, dir: "auto" });
    this.model = el("select", { id: "canvas-model", onchange: () => this.#told() });
    this.strength = this.#range("canvas-strength", { min: 0.05, max: 1, step: 0.05, value: 1 }, (value) => `${Math.round(value * 100)} %`);
    this.feather = this.#range("canvas-feather", { min: 0, max: 64, step: 1, value: 4 }, (value) => t`${value} px`);
    this.padding = this.#range("canvas-padding", { min: 0, max: 256, step: 8, value: 32 }, (value) => t`${value} px`);
    this.only = el("input", { type: "checkbox", id: "canvas-only", onchange: () => this.#told() });
    this.sides = Object.fromEntries(SIDES.map((side) => [side, el("input", { type: "number", id: `canvas-${side}`, min: 0, step: 8, value: 0, inputmode: "numeric", onchange: ({ target }) => on.extend({ [side]: Number(target.value) || 0 }) })]));
    this.size = el("output", { class: "value" });
    const field = (label, id, control, value = null, note = null) => el("div", { class: "field" }, el("label", { for: id }, label, " ", value), control, note && el("p", { class: "note" }, note));
    this.paddingField = field(t`Surroundings`, "canvas-padding", this.padding.input, this.padding.value);
    this.repaintFields = el(
      "div",
      { class: "canvas-fields" },
      field(t`Change it by`, "canvas-strength", this.strength.input, this.strength.value, t`Denoising strength: 100 % starts the part from nothing.`),
      field(t`Feather`, "canvas-feather", this.feather.input, this.feather.value),
      el("label", { class: "check canvas-check" }, this.only, el("span", {}, t`Only masked: draw the marked part alone, in full detail`)),
      this.paddingField,
    );
    this.extendFields = el(
      "fieldset",
      { class: "field" },
      el("legend", {}, t`Extend by `, this.size),
      el("div", { class: "canvas-sides" }, SIDES.map((side) => el("label", {}, el("span", {}, SIDE_WORDS[side][0].toUpperCase() + SIDE_WORDS[side].slice(1)), this.sides[side]))),
      el("p", { class: "note" }, t`Drag the frame, or type pixels.`),
    );
    this.node = el(
      "div",
      { class: "canvas-fields" },
      field(t`What should be there`, "canvas-prompt", this.prompt),
      el("div", { class: "field" }, el("label", { for: "canvas-model" }, t`Model`), el("span", { class: "select" }, this.model)),
      this.repaintFields,
      this.extendFields,
    );
  }

  /** For another picture. */
  begin({ prompt, settings = null }) {
    const models = painters();
    const wanted = [this.model.value, chosen()?.id, models[0]?.id].find((id) => models.some((model) => model.id === id));
    this.model.replaceChildren(...models.map((model) => new Option(model.available ? model.name : t`${model.name} (downloads first)`, model.id)));
    this.model.value = wanted ?? "";
    this.prompt.value = prompt;
    if (settings) {
      this.feather.input.value = settings.mask_blur ?? 0;
      this.only.checked = settings.inpaint_area === "masked";
      this.padding.input.value = settings.inpaint_padding ?? 32;
      if (settings.strength) this.strength.input.value = settings.strength;
    }
    this.#told();
  }

  show(mode) {
    this.repaintFields.hidden = mode !== "repaint";
    this.extendFields.hidden = mode !== "extend";
  }

  get chosenModel() {
    return catalog.models.find(({ id }) => id === this.model.value);
  }

  showExtension({ extend, size }) {
    for (const side of SIDES) this.sides[side].value = extend[side];
    say(this.size, `${size[0]} × ${size[1]}`);
  }

  /** The settings of a repainted part; what is as the server has it anyway is left out. */
  get settings() {
    const number = ({ input }) => Number(input.value);
    return {
      strength: number(this.strength),
      ...(number(this.feather) ? { mask_blur: number(this.feather) } : {}),
      ...(this.only.checked ? { inpaint_area: "masked", inpaint_padding: number(this.padding) } : {}),
    };
  }

  #range(id, attributes, word) {
    const value = el("span", { class: "value" });
    const input = el("input", { type: "range", id, ...attributes, oninput: () => this.#told() });
    return { input, value, tell: () => (say(value, word(Number(input.value))), paint(input)) };
  }

  #told() {
    for (const range of [this.strength, this.feather, this.padding]) range.tell();
    this.paddingField.hidden = !this.only.checked;
    this.on.changed();
  }
}
