// The lightbox: a dialog with one large picture, its metadata and what can be done with it. Arrow keys and swipes move
// through the list it was opened from; each picture has an address.

import * as actions from "./actions.js";
import { get } from "./api.js";
import { pathTo } from "./base.js";
import { modelOf } from "./catalog.js";
import { $, button, el, say } from "./dom.js";
import { heart, toggleFavorite } from "./favorites.js";
import { bytes, decimal, number, when } from "./format.js";
import { announce } from "./notices.js";
import { openWorkMenu, repaintButton } from "./open-work-menu.js";
import { isPendingDelete, removePictures } from "./removal.js";
import { t } from "./strings.js";
import { videoButton } from "./video-button.js";
import { Viewport, gestures } from "./viewport.js";

const NEAR_THE_END = 6;
const SWIPE_PIXELS = 60;
let list = [];
let at = 0;
let askForMore = null;
let compared = null; // the slider that is shown in place of the picture

const pictureBox = el("div", { class: "lightbox-picture" });
const content = el("div", { class: "lightbox-content" });
const side = el("aside", { class: "lightbox-side", "aria-label": t`About this picture` });
const counter = el("p", { class: "lightbox-counter" });
const zoom = el("output", { class: "lightbox-zoom", "aria-label": t`Zoom` });
const step = (label, name, by) => button(null, name, () => move(by), { class: `round lightbox-${name}`, "aria-label": label });
const tools = el(
  "div",
  { class: "lightbox-tools", role: "group", "aria-label": t`Zoom` },
  button(t`Fit`, null, () => viewport.fit(), { class: "round small wide", title: t`Fit (0)` }),
  button("1:1", null, () => viewport.actualSize(), { class: "round small wide", title: t`Actual size (1)` }),
  zoom,
);
pictureBox.append(content);
const viewport = new Viewport(pictureBox, content, ({ scale }) => {
  say(zoom, `${Math.round(scale * devicePixelRatio * 100)} %`);
  pictureBox.dataset.zoomed = String(viewport.isZoomed);
});
const dialog = el(
  "dialog",
  { class: "lightbox", "aria-label": t`Picture` },
  pictureBox,
  step(t`Previous picture`, "left", -1),
  step(t`Next picture`, "right", +1),
  counter,
  tools,
  side,
  button(null, "close", () => close(), { class: "round lightbox-close", "aria-label": t`Close` }),
);
document.body.append(dialog);

export function open(items, index, more) {
  [list, at, askForMore] = [items, index, more];
  if (!dialog.open) {
    dialog.showModal();
    dialog.focus();
    history.pushState({ ...history.state, lightbox: true }, "", addressed(list[at].image_id)); // so that the phone's back button closes it
  }
  show();
}

/** Opens the picture of an address, alone; a sentence where it is not there. */
export async function openById(id) {
  if (dialog.open && list[at]?.image_id === id) return;
  try {
    const found = await get(`api/image/${id}/metadata`);
    [list, at, askForMore] = [[{ ...found, prompt: found.manifest.prompt ?? "" }], 0, null];
    if (!dialog.open) dialog.showModal();
    dialog.focus();
    show();
  } catch (error) {
    forgetAddress();
    const { toast } = await import("./notices.js");
    toast(error.message, { kind: "error" });
  }
}

/** The address of the view below with this picture, or none. */
function addressed(id) {
  const [path, query = ""] = (location.hash || "#/").split("?");
  const parameters = new URLSearchParams(query);
  if (id) parameters.set("picture", id);
  else parameters.delete("picture");
  return `${path}${parameters.size ? `?${parameters}` : ""}`;
}

const forgetAddress = () => history.replaceState({ ...history.state, lightbox: undefined }, "", addressed(null));

/** Resolves when the history entry of the dialog is removed. */
function close() {
  const back = history.state?.lightbox ? new Promise((resolve) => addEventListener("popstate", resolve, { once: true })) : null;
  dialog.close();
  return back;
}

function next(from, by) {
  let to = from + by;
  while (list[to] && (isPendingDelete(list[to].image_id) || !list[to].image_id)) to += by;
  return list[to] ? to : null;
}

function move(by) {
  const to = next(at, by);
  if (to === null) return;
  at = to;
  if (askForMore && list.length - at < NEAR_THE_END) askForMore();
  history.replaceState(history.state, "", addressed(list[at].image_id));
  show();
  announce(list[at].prompt);
}

function show() {
  const item = list[at];
  compared = null;
  $(".compare", pictureBox)?.remove();
  const media =
    item.media === "video" && !item.deleted_at
      ? el("video", { src: item.url, controls: true, loop: true, width: item.width, height: item.height, poster: item.thumbnail_url })
      : el("img", { src: sourceOf(item), alt: item.prompt, width: item.width, height: item.height, draggable: "false" });
  media.style.backgroundImage = `url("${item.thumbnail_url}")`;
  content.replaceChildren(media);
  content.hidden = false;
  tools.hidden = item.media === "video";
  viewport.show(item.width, item.height);
  for (const by of [-1, 1]) $(`.lightbox-${by < 0 ? "left" : "right"}`, dialog).hidden = next(at, by) === null;
  const shown = list.filter((one) => one.image_id && !isPendingDelete(one.image_id));
  say(counter, shown.length > 1 ? `${shown.indexOf(item) + 1} / ${shown.length}${askForMore ? "+" : ""}` : "");
  for (const by of [-1, 1]) preload(list[next(at, by)]);
  describe(item, null);
  if (item.deleted_at) return;
  get(item.metadata_url).then(
    (metadata) => list[at] === item && describe(item, metadata),
    (error) => list[at] === item && side.append(el("p", { class: "note warn" }, error.message)),
  );
}

/** What lies in the bin is seen by its thumbnail only. */
const sourceOf = (item) => (item.deleted_at ? item.thumbnail_url : item.url);

/** The neighbours are there when they are asked for. */
function preload(item) {
  if (item?.media === "image") new Image().src = sourceOf(item);
}

/** As the language writes it; what is no number stays. */
const numeral = (value) => (typeof value === "number" ? number(value) : value);

function describe(item, metadata) {
  const { manifest } = metadata ?? {};
  const { settings = {}, effective = {} } = manifest ?? {};
  const rows = [
    [t`Model`, modelOf(item.model_id)?.name ?? item.model_id],
    [t`Size`, `${item.width} × ${item.height}`],
    [t`Seed`, item.seed],
    [t`Length`, manifest?.video && t`${decimal(manifest.video.seconds)} s · ${Math.round(manifest.video.fps)} a second`],
    [t`Steps`, settings.num_inference_steps],
    [t`Guidance`, numeral(settings.guidance_scale ?? effective.guidance_scale)],
    [t`Sampler`, settings.scheduler],
    [t`LoRAs`, settings.loras?.map(({ id, scale }) => `${id} ${numeral(scale)}`).join(", ")],
    [t`Strength`, numeral(settings.strength)],
    [t`Left out`, manifest?.negative_prompt],
    [t`Made`, metadata && when(metadata.created_at)],
    [t`File`, metadata && bytes(metadata.bytes)],
  ];
  const made = { ...item, manifest };
  side.replaceChildren(
    el("p", { class: "lightbox-prompt", dir: "auto" }, item.prompt),
    el("dl", {}, rows.filter(([, value]) => (value ?? "") !== "" && value !== false).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
    el("div", { class: "actions" }, item.deleted_at ? binActions(item) : pictureActions(made)),
    el("div", { class: "lightbox-tags" }),
    el("div", { class: "lightbox-lineage" }),
    manifest ? el("details", { class: "manifest" }, el("summary", {}, t`Everything that was recorded`), el("pre", { tabindex: "0" }, JSON.stringify(manifest, null, 2))) : "",
  );
  if (metadata) addLazily(item, metadata);
}

/** Tags, and what it was made from; their modules are loaded with the first picture. */
async function addLazily(item, metadata) {
  const [{ tagRow }, { lineageRow }] = await Promise.all([import("./tags.js"), import("./lineage.js")]);
  if (list[at] !== item) return;
  $(".lightbox-tags", side).replaceChildren(tagRow(item, metadata.tags));
  const row = await lineageRow(item, { look: (id) => openById(id), compare: (source) => compare(source, item) });
  if (list[at] === item && row) $(".lightbox-lineage", side).replaceChildren(row);
}

function pictureActions(made) {
  const facts = { ...made, settings: made.manifest?.settings };
  const leaving = (act) => async () => {
    await close();
    act(made);
  };
  const more = button(t`More`, "more", () => openWorkMenu(more, made, close), { "aria-haspopup": "menu" });
  return [
    actions.canRepeat(facts) ? button(t`Variations`, "vary", leaving(actions.vary), { class: "quiet strong" }) : "",
    made.media === "image" ? (repaintButton(made, close) ?? "") : "",
    actions.canReuse(facts) ? button(t`Use these settings`, "reuse", leaving(actions.reuse)) : "",
    anotherVideo(made, made.manifest) ?? "",
    button(t`Download`, "download", () => actions.download(made)),
    more,
    heart(made, { class: "quiet heart" }),
    button(t`Delete`, "trash", remove, { class: "quiet danger" }),
  ];
}

function binActions(item) {
  const leave = async (run) => {
    const [module] = await Promise.all([import("./bin.js"), close()]);
    module[run]([item]);
  };
  return [
    button(t`Restore`, "undo", () => leave("restore"), { class: "quiet strong" }),
    button(t`Delete for good`, "trash", () => leave("purge"), { class: "quiet danger" }),
  ];
}

/** A button for a video that the form cannot repeat, but whose first frame is known. */
function anotherVideo(item, manifest) {
  const source = manifest?.inputs?.image?.image_id;
  if (!source || item.media !== "video" || actions.canRepeat({ ...item, manifest, settings: manifest.settings })) return null;
  return videoButton({ image_id: source, thumbnail_url: pathTo(`api/image/${source}/thumbnail`), prompt: item.prompt }, close, t`Another from its picture`);
}

/** Shows `source` beside `item`, under a slider; again, and it is gone. */
async function compare(source, item) {
  if (compared) {
    compared.remove();
    compared = null;
    content.hidden = false;
    return;
  }
  const [{ compareSlider }] = await Promise.all([import("./compare.js"), (await import("./router.js")).style("canvas")]);
  compared = compareSlider({ url: source.url, label: t`Before`, width: source.width, height: source.height }, { url: item.url, label: t`After`, width: item.width, height: item.height });
  content.hidden = true;
  pictureBox.append(compared);
  $("input", compared).focus();
}

/** Deletes the image and shows the next one; closes the lightbox when there is none. */
async function remove() {
  const item = list[at];
  const to = next(at, +1) ?? next(at, -1);
  if (to === null) await close();
  removePictures([item]);
  if (to === null) return;
  at = to;
  history.replaceState(history.state, "", addressed(list[at].image_id));
  show();
}

dialog.addEventListener("close", () => {
  $("video", content)?.pause();
  if (history.state?.lightbox) history.back();
  else if (location.hash.includes("picture=")) forgetAddress();
});
addEventListener("popstate", () => dialog.open && !location.hash.includes("picture=") && dialog.close());
dialog.addEventListener("click", (event) => (event.target === dialog || (event.target === pictureBox && !viewport.isZoomed)) && close());
dialog.addEventListener("keydown", (event) => {
  if (event.target.closest("pre, video, textarea, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") move(-1);
  else if (event.key === "ArrowRight") move(+1);
  else if (event.key === "Delete") remove();
  else if (event.key.toLowerCase() === "f") toggleFavorite(list[at]);
  else viewport.key(event.key);
});
pictureBox.addEventListener("dblclick", (event) => {
  if (list[at].media === "video" || compared) return;
  const box = pictureBox.getBoundingClientRect();
  if (viewport.isZoomed) viewport.fit();
  else viewport.zoomTo(Math.max(1 / devicePixelRatio, viewport.fitScale * 2), event.clientX - box.left, event.clientY - box.top);
});
pictureBox.addEventListener(
  "wheel",
  (event) => {
    if (list[at].media === "video" || compared) return;
    event.preventDefault();
    const box = pictureBox.getBoundingClientRect();
    viewport.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event.clientX - box.left, event.clientY - box.top);
  },
  { passive: false },
);
gestures(pictureBox, {
  takes: (event) => list[at].media !== "video" && !compared && (event.pointerType !== "mouse" || event.button === 0),
  drag: (dx, dy) => viewport.isZoomed && viewport.pan(dx, dy),
  pinch: (factor, x, y, dx, dy) => {
    viewport.zoomBy(factor, x, y);
    viewport.pan(dx, dy);
  },
  end: (dx, dy, _, event) => {
    const swiped = event.pointerType !== "mouse" && Math.abs(dx) > SWIPE_PIXELS && Math.abs(dx) > 2 * Math.abs(dy);
    if (swiped && !viewport.isZoomed) move(dx < 0 ? +1 : -1);
  },
});
