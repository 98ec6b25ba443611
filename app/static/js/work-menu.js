// The menu of what can be done with a picture, by what the models here can do.

import * as actions from "./actions.js";
import { catalog } from "./catalog.js";
import { $, el, icon } from "./dom.js";
import { canUseInputImage, mostImages, useInputImage } from "./input-image.js";
import { toast } from "./notices.js";
import { choose, chosen } from "./picker.js";
import { style } from "./router.js";
import { t } from "./strings.js";
import { openVideoDialog, videoModels } from "./video-button.js";

const menu = el("div", { class: "menu", role: "menu", popover: "auto", id: "work-menu", "aria-label": t`What can be done with it` });
let opener = null;

const here = (test) => catalog.models.filter((model) => model.lane !== "remote" && model.available && test(model));
const canMask = () => here(({ tasks }) => tasks.includes("inpaint")).length > 0;
const editors = () => here(({ tasks }) => tasks.includes("edit"));

/** Opens it at `anchor`. */
export async function open(anchor, item, leave) {
  const entries = await entriesOf(item, leave);
  menu.replaceChildren(...entries.map(entry));
  ($("dialog[open]") ?? document.body).append(menu);
  opener = anchor;
  menu.showPopover();
  place(anchor);
  menu.firstElementChild.focus();
}

async function entriesOf(item, leave) {
  const picture = item.media === "image";
  const leaving = (act) => async () => {
    await leave();
    await act(item);
  };
  const films = picture ? await videoModels() : [];
  const canRepeat = actions.canRepeat(item.manifest ? { ...item, settings: item.manifest.settings } : item);
  const masked = item.inputs?.mask ?? item.manifest?.inputs?.mask;
  return [
    canRepeat && [t`Variations`, "vary", leaving(actions.vary)],
    picture && canMask() && [t`Repaint a part`, "brush", leaving((it) => repaint(it))],
    picture && canMask() && masked && [t`Change the mask it was made with`, "brush", leaving((it) => repaint(it, { again: true }))],
    picture && canMask() && [t`Extend`, "extend", leaving((it) => repaint(it, { mode: "extend" }))],
    picture && [t`Upscale 2×`, "upscale", leaving((it) => actions.upscale(it, 2))],
    picture && [t`Upscale 4×`, "upscale", leaving((it) => actions.upscale(it, 4))],
    picture && editors().length > 0 && [t`Edit by instruction`, "edit", leaving(edit)],
    picture && canUseInputImage() && [t`Start from this`, "start", leaving(useInputImage)],
    picture && takers("reference").length > 0 && [t`Use as reference`, "reuse", leaving((it) => slot("reference", it))],
    picture && takers("control").length > 0 && [t`Use as control`, "reuse", leaving((it) => slot("control", it))],
    films.length > 0 && [t`Make a video`, "film", () => openVideoDialog(item, leave)],
    actions.canReuse(item) && [t`Use these settings`, "reuse", leaving(actions.reuse)],
    [t`Copy prompt`, "copy", () => actions.copy(item.prompt)],
    picture && [t`Copy picture`, "copy", () => actions.copyPicture(item)],
    [t`Copy link`, "link", () => actions.copy(actions.linkTo(item), t`Link`)],
    [t`Download`, "download", () => actions.download(item)],
  ].filter(Boolean);
}

/** Models that take a picture of this role, beside one to start from. */
const takers = (role) => here(({ roles = [], tasks, limits, reference_models: adapters = [] }) => roles.includes(role) && (role === "control" || adapters.length > 0 || (tasks.includes("edit") && (limits.max_input_images ?? 1) > 1)));

export async function repaint(item, how = {}) {
  const [canvas] = await Promise.all([import("./canvas/dialog.js"), style("canvas")]);
  await canvas.open(item, how);
}

function edit(item) {
  if (!chosen()?.tasks.includes("edit")) choose(editors()[0].id);
  useInputImage(item);
  $("#prompt").value = "";
  $("#prompt").placeholder = t`Say what to change, such as: make it winter`;
  toast(t`${chosen().name} changes the picture as the prompt says.`, { stay: 4 });
}

async function slot(role, item) {
  if (!takers(role).includes(chosen())) choose(takers(role)[0].id);
  location.hash = "#/";
  if (role === "reference" && mostImages(chosen()) > 1) return useInputImage(item);
  const { add } = await import("./input-slots.js");
  add(role, { source: item.image_id, shown: item.thumbnail_url, name: item.prompt });
}

function entry([label, iconName, run]) {
  const act = () => {
    menu.hidePopover();
    run();
  };
  return el("button", { type: "button", role: "menuitem", tabindex: "-1", onclick: act }, icon(iconName), label);
}

/** Below the anchor, above it where there is more room, and never outside the window. */
function place(anchor) {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = innerHeight - at.bottom > height + 8 || at.top < innerHeight - at.bottom;
  const top = below ? at.bottom + 6 : at.top - height - 6;
  menu.style.top = `${Math.min(Math.max(8, top), Math.max(8, innerHeight - height - 8))}px`;
  menu.style.left = `${Math.min(Math.max(8, at.right - width), innerWidth - width - 8)}px`;
}

menu.addEventListener("keydown", (event) => {
  const items = [...menu.children];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  event.stopPropagation(); // the lightbox has the same keys
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  items[to % items.length].focus();
});
menu.addEventListener("toggle", ({ newState }) => newState === "closed" && menu.contains(document.activeElement) && opener?.focus());
