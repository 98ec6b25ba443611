// A field that holds files: uploaded ones, pictures of the gallery, or URLs.

import { pathTo } from "./base.js";
import { button, el, say } from "./dom.js";
import { scaled } from "./input-image.js";
import { style } from "./router.js";
import { t } from "./strings.js";

const MOST_CHARACTERS = 700_000; // of an upload: the request has to stay below MAX_BODY_BYTES
const QUALITIES = [0.95, 0.85, 0.7];
const ID = /^(?:cyberimage:\/\/image\/)?([0-9a-f]{32})$/;

/** `many` and `max_items` of the field say how many it takes. */
export function fileControl({ title, many, max_items: limit }, id, changed) {
  const most = many ? (limit ?? Infinity) : 1;
  let files = []; // {source, shown}
  const list = el("ul", { class: "files" });
  const url = el("input", { type: "url", inputmode: "url", placeholder: t`or a URL`, "aria-label": t`URL for ${title}` });
  const file = el("input", { type: "file", multiple: many, hidden: true, "aria-label": t`File for ${title}` });
  const said = el("p", { class: "note warn", role: "alert", hidden: true });

  function add(source, shown) {
    files = most === 1 ? [{ source, shown }] : [...files, { source, shown }].slice(-most);
    render();
    changed();
    return true;
  }
  function render() {
    list.hidden = !files.length;
    list.replaceChildren(...files.map((one, index) => el("li", {}, preview(one), button(null, "close", () => remove(index), { class: "round small", "aria-label": t`Remove ${one.label ?? t`the file`} ${index + 1}` }))));
  }
  function remove(index) {
    files = files.filter((_, at) => at !== index);
    render();
    changed();
    list.parentNode.querySelector("button")?.focus();
  }
  async function upload(chosen) {
    complain("");
    for (const one of chosen) {
      try {
        const uri = await uriOf(one);
        add(uri, uri.startsWith("data:image/") ? uri : null);
      } catch (error) {
        complain(error.message);
      }
    }
  }
  function complain(sentence) {
    said.hidden = !sentence;
    say(said, sentence);
  }
  async function choose() {
    const [{ pick }] = await Promise.all([import("./gallery-picker.js"), style("model-form")]);
    const item = await pick();
    if (item) add(item.image_id, item.thumbnail_url);
  }

  file.addEventListener("change", async () => {
    await upload([...file.files]);
    file.value = "";
  });
  url.addEventListener("change", () => {
    if (url.value.trim()) add(url.value.trim(), null);
    url.value = "";
  });
  render();
  const buttons = el("div", { class: "file-buttons" }, button(t`Upload`, "enter", () => file.click()), button(t`From the gallery`, "gallery", choose), url, file);
  return {
    labelled: false,
    control: el("div", {}, list, buttons, said),
    add,
    value: () => (files.length ? (many ? files.map(({ source }) => source) : files[0].source) : undefined),
    /** False when a file was left out: what was uploaded is not kept. */
    set(given) {
      const wanted = [given].flat().filter((one) => typeof one === "string" && one);
      const usable = wanted.filter((one) => ID.test(one) || /^https?:/.test(one));
      files = usable.map((one) => (ID.test(one) ? { source: ID.exec(one)[1], shown: pathTo(`api/image/${ID.exec(one)[1]}/thumbnail`) } : { source: one, shown: null }));
      render();
      return usable.length === wanted.length;
    },
  };
}

function preview({ source, shown }) {
  if (shown) return el("img", { src: shown, alt: "" });
  return el("span", { class: "file-name" }, source.startsWith("data:") ? t`${source.slice(5).split(";")[0]} file` : source);
}

/** A data URI that fits into a request: a picture is made smaller, anything else has to be small. */
async function uriOf(file) {
  if (file.type.startsWith("image/")) {
    for (const quality of QUALITIES) {
      const uri = await scaled(file, quality).catch(() => null);
      if (!uri) throw new Error(t`“${file.name}” is not an image that this browser can read.`);
      if (uri.length <= MOST_CHARACTERS) return uri;
    }
  }
  if (file.size * 1.34 > MOST_CHARACTERS) throw new Error(t`“${file.name}” is too large to upload here. Give its URL instead.`);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(t`“${file.name}” cannot be read.`));
    reader.readAsDataURL(file);
  });
}
