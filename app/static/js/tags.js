// Tags of pictures: the row in the lightbox, and the dialog for many pictures.

import { act, get } from "./api.js";
import { button, el, icon, say } from "./dom.js";
import { plural } from "./format.js";
import { announce, toast } from "./notices.js";
import { t } from "./strings.js";

const LONGEST = 50;
const known = el("datalist", { id: "known-tags" });
document.body.append(known);

async function suggest() {
  const { tags } = await get("api/tags").catch(() => ({ tags: [] }));
  known.replaceChildren(...tags.map(({ tag }) => new Option(tag, tag)));
}

const field = (attributes) => el("input", { type: "text", maxlength: LONGEST, list: "known-tags", autocomplete: "off", ...attributes });

/** The tags of one picture, each with a way to the pictures that share it, and a field for another. */
export function tagRow(item, tags) {
  const input = field({ placeholder: t`Add a tag`, "aria-label": t`Add a tag`, onfocus: suggest });
  const list = el("ul", { class: "tags" });
  let shown = [...tags];
  const draw = () => list.replaceChildren(...shown.map((tag) => el("li", { class: "tag" }, el("a", { href: `#/gallery?tag=${encodeURIComponent(tag)}` }, tag), remove(tag))));
  const change = async (action, tag) => {
    try {
      await act(action, { ids: [item.image_id], tags: [tag] });
      shown = action === "tag" ? [...new Set([...shown, tag])] : shown.filter((one) => one !== tag);
      announce(action === "tag" ? t`Tagged ${tag}` : t`${tag} was removed`);
      draw();
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
  };
  const remove = (tag) => el("button", { type: "button", "aria-label": t`Remove the tag ${tag}`, onclick: () => change("untag", tag).then(() => input.focus()) }, icon("close"));
  const form = el("form", { class: "tag-form" }, input, el("button", { type: "submit", class: "quiet" }, t`Add`));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const tag = input.value.trim();
    if (tag) change("tag", tag);
    input.value = "";
  });
  draw();
  return el("section", { "aria-label": t`Tags` }, list, form);
}

const input = field({ id: "tag-input", "aria-describedby": "tag-note" });
const note = el("p", { class: "note", id: "tag-note", role: "status" });
const dialog = el(
  "dialog",
  { class: "confirm", "aria-labelledby": "tag-title" },
  el(
    "form",
    { method: "dialog" },
    el("h2", { id: "tag-title" }, t`Tags`),
    el("div", { class: "field" }, el("label", { for: "tag-input" }, t`Tag`), input),
    note,
    el(
      "div",
      { class: "confirm-actions" },
      button(t`Cancel`, null, () => dialog.close("")),
      button(t`Remove it`, null, () => input.value.trim() && dialog.close("untag")),
      el("button", { type: "submit", class: "quiet strong", value: "tag" }, t`Add it`),
    ),
  ),
);
document.body.append(dialog);

/** Asks for a tag for `count` pictures. Resolves to {action, tag}, or null. */
export async function askForTag(count) {
  say(note, t`For ${plural(count, "picture")}.`);
  input.value = "";
  dialog.returnValue = "";
  suggest();
  dialog.showModal();
  input.focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const tag = input.value.trim();
  return tag && dialog.returnValue ? { action: dialog.returnValue, tag } : null;
}
