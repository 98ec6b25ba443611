// “Made from”: the pictures that a picture was made from, and what was made from it.

import { get } from "./api.js";
import { button, el } from "./dom.js";
import { t } from "./strings.js";

const HOW = { img2img: t`changed`, inpaint: t`repainted`, extend: t`extended`, edit: t`edited`, img2video: t`filmed`, upscale: t`enlarged`, rerun: t`drawn again`, reference: t`as reference`, control: t`as control` };
const MOST = 12;

/** A row for `item`, or null when it has no relatives. `look(id)` opens one, `compare(relative)` shows it beside. */
export async function lineageRow(item, { look, compare }) {
  const found = await get(`api/image/${item.image_id}/lineage`).catch(() => null);
  if (!found) return null;
  const direct = new Map(found.made_from.map(({ image_id: id, how }) => [id, how]));
  const sources = found.ancestors.filter(({ image_id: id }) => direct.has(id));
  const source = item.media === "image" && sources.find(({ media }) => media === "image");
  if (!sources.length && !found.children.length) return null;
  return el(
    "div",
    {},
    sources.length > 0 && part(t`Made from`, sources, (one) => HOW[direct.get(one.image_id)] ?? "", look),
    source && button(t`Compare with it`, "compare", () => compare(source)),
    found.children.length > 0 && part(t`Made of it`, found.children.slice(0, MOST), (one) => HOW[one.made_from.find(({ image_id: id }) => id === item.image_id)?.how] ?? "", look),
  );
}

function part(title, relatives, how, look) {
  const link = (one) =>
    el("li", {}, el("button", { type: "button", onclick: () => look(one.image_id), "aria-label": `${how(one)}: ${one.prompt.slice(0, 80)}` }, el("img", { src: one.thumbnail_url, alt: "", loading: "lazy" }), el("span", {}, how(one))));
  return el("section", { "aria-label": title }, el("h3", {}, title), el("ul", {}, relatives.map(link)));
}
