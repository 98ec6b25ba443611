// The lightbox: a dialog with one large image and its metadata. Arrow keys move through the list it was opened from.

import * as actions from "./actions.js";
import { get } from "./api.js";
import { pathTo } from "./base.js";
import { modelOf } from "./catalog.js";
import { button, el } from "./dom.js";
import { bytes, when } from "./format.js";
import { canUseInputImage, useInputImage } from "./input-image.js";
import { announce } from "./notices.js";
import { isPendingDelete, removePictures } from "./removal.js";
import { videoButton } from "./video-button.js";

const NEAR_THE_END = 6;
let list = [];
let at = 0;
let askForMore = null;

const pictureBox = el("div", { class: "lightbox-picture" });
const side = el("aside", { class: "lightbox-side", "aria-label": "About this picture" });
const step = (label, name, by) => button(null, name, () => move(by), { class: `round lightbox-${name}`, "aria-label": label });
const dialog = el(
  "dialog",
  { class: "lightbox", "aria-label": "Picture" },
  pictureBox,
  step("Previous picture", "left", -1),
  step("Next picture", "right", +1),
  side,
  button(null, "close", () => close(), { class: "round lightbox-close", "aria-label": "Close" }),
);
document.body.append(dialog);

export function open(items, index, more) {
  [list, at, askForMore] = [items, index, more];
  show();
  if (dialog.open) return;
  dialog.showModal();
  dialog.focus();
  history.pushState({ lightbox: true }, ""); // so that the phone's back button closes it
}

/** Resolves when the history entry of the dialog is removed. */
function close() {
  const back = history.state?.lightbox ? new Promise((resolve) => addEventListener("popstate", resolve, { once: true })) : null;
  dialog.close();
  return back;
}

function move(by) {
  let next = at + by;
  while (list[next] && (isPendingDelete(list[next].image_id) || !list[next].image_id)) next += by;
  if (!list[next]) return;
  at = next;
  if (askForMore && list.length - at < NEAR_THE_END) askForMore();
  show();
  announce(list[at].prompt);
}

function show() {
  const item = list[at];
  const vars = { "--w": item.width, "--h": item.height };
  const media =
    item.media === "video"
      ? el("video", { src: item.url, controls: true, loop: true, vars })
      : el("img", { src: item.url, alt: item.prompt, width: item.width, height: item.height, vars });
  media.style.backgroundImage = `url("${item.thumbnail_url}")`;
  pictureBox.replaceChildren(media);
  describe(item, null);
  get(item.metadata_url).then(
    (metadata) => list[at] === item && describe(item, metadata),
    (error) => list[at] === item && side.append(el("p", { class: "note warn" }, error.message)),
  );
}

function describe(item, metadata) {
  const { manifest } = metadata ?? {};
  const { settings = {}, effective = {} } = manifest ?? {};
  const rows = [
    ["Model", modelOf(item.model_id)?.name ?? item.model_id],
    ["Size", `${item.width} × ${item.height}`],
    ["Seed", item.seed],
    ["Length", manifest?.video && `${manifest.video.seconds.toFixed(1)} s · ${Math.round(manifest.video.fps)} a second`],
    ["Steps", settings.num_inference_steps],
    ["Guidance", settings.guidance_scale ?? effective.guidance_scale],
    ["Left out", manifest?.negative_prompt],
    ["Made", metadata && when(metadata.created_at)],
    ["File", metadata && bytes(metadata.bytes)],
  ];
  const made = { ...item, manifest };
  const facts = { ...made, settings: manifest?.settings };
  const leaving = (act) => async () => {
    await close();
    act(made);
  };
  side.replaceChildren(
    el("p", { class: "lightbox-prompt" }, item.prompt),
    el("dl", {}, rows.filter(([, value]) => value ?? false).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
    el(
      "div",
      { class: "actions" },
      actions.canRepeat(facts) ? button("Variations", "vary", leaving(actions.vary), { class: "quiet strong" }) : "",
      actions.canReuse(facts) ? button("Use these settings", "reuse", leaving(actions.reuse)) : "",
      canUseInputImage() && item.media === "image" ? button("Start from this", "start", leaving(useInputImage)) : "",
      item.media === "image" ? button("Upscale 2×", "upscale", leaving(actions.upscale)) : "",
      item.media === "image" ? videoButton(item, close) : "",
      anotherVideo(item, manifest) ?? "",
      button("Copy prompt", "copy", () => actions.copy(item.prompt)),
      button("Download", "download", () => actions.download(item)),
      button("Delete", "trash", remove, { class: "quiet danger" }),
    ),
    manifest ? el("details", { class: "manifest" }, el("summary", {}, "Everything that was recorded"), el("pre", { tabindex: "0" }, JSON.stringify(manifest, null, 2))) : "",
  );
}

/** A button for a video that the form cannot repeat, but whose first frame is known. */
function anotherVideo(item, manifest) {
  const source = manifest?.inputs?.image?.image_id;
  if (!source || item.media !== "video" || actions.canRepeat({ ...item, manifest, settings: manifest.settings })) return null;
  return videoButton({ image_id: source, thumbnail_url: pathTo(`api/image/${source}/thumbnail`), prompt: item.prompt }, close, "Another from its picture");
}

/** Deletes the image and shows the next one; closes the lightbox when there is none. */
async function remove() {
  const item = list[at];
  const before = at;
  const others = list.some((one) => one.image_id && one.image_id !== item.image_id && !isPendingDelete(one.image_id));
  if (!others) await close();
  removePictures([item]);
  if (!others) return;
  move(+1);
  if (at === before) move(-1);
}

dialog.addEventListener("close", () => history.state?.lightbox && history.back());
addEventListener("popstate", () => dialog.open && dialog.close());
dialog.addEventListener("click", (event) => (event.target === dialog || event.target === pictureBox) && close());
dialog.addEventListener("keydown", (event) => {
  if (event.target.closest("pre, video, textarea")) return;
  if (event.key === "ArrowLeft") move(-1);
  else if (event.key === "ArrowRight") move(+1);
  else if (event.key === "Delete") remove();
});
