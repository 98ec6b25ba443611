// The command palette: everything that a button or a key does, found by a few letters. Imported with Ctrl K.

import { commands } from "./commands.js";
import { el, say } from "./dom.js";
import { plural } from "./format.js";
import { matching } from "./palette-match.js";
import { isPaletteKey } from "./open-palette.js";
import { t } from "./strings.js";

const SHOWN = 60; // more are found by typing on
const input = el("input", { type: "text", role: "combobox", id: "palette-input", "aria-label": t`Find a command`, placeholder: t`What do you want to do?`, "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false" });
const list = el("div", { id: "palette-list", role: "listbox", "aria-label": t`Commands` });
const count = el("p", { class: "note", role: "status" });
const dialog = el("dialog", { class: "palette", id: "palette", "aria-label": t`Commands` }, input, list, count);
document.body.append(dialog);
let all = [];
let options = []; // [node, command], in their order
let at = 0; // of the active option

export function open() {
  if (dialog.open) return;
  all = commands();
  input.value = "";
  dialog.showModal();
  show();
}

function show() {
  const found = matching(all, input.value).slice(0, SHOWN);
  options = found.map((command, place) => [option(command, place), command]);
  list.replaceChildren(...grouped());
  say(count, found.length ? (input.value ? plural(found.length, "command") : "") : t`Nothing matches.`);
  activate(0);
}

function option({ name, key }, place) {
  const node = el("div", { role: "option", id: `palette-${place}`, onclick: () => run(place) }, el("span", { dir: "auto" }, name), key && el("kbd", {}, key));
  node.addEventListener("pointermove", () => place !== at && activate(place));
  return node;
}

/** Under headings while nothing is typed; afterwards the best comes first, whatever it is. */
function grouped() {
  if (input.value) return options.map(([node]) => node);
  return [...byGroup(options)].map(([name, members]) => el("div", { role: "group", "aria-label": name }, el("p", { "aria-hidden": "true" }, name), members.map(([node]) => node)));
}

function byGroup(members) {
  const groups = new Map();
  for (const member of members) groups.set(member[1].group, [...(groups.get(member[1].group) ?? []), member]);
  return groups;
}

function activate(place) {
  at = place;
  options.forEach(([node], index) => node.setAttribute("aria-selected", String(index === at)));
  const node = options[at]?.[0];
  if (!node) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", node.id);
  node.scrollIntoView({ block: "nearest" });
}

function run(place) {
  const command = options[place]?.[1];
  if (!command) return;
  dialog.close();
  command.run();
}

const MOVES = { ArrowDown: () => (at + 1) % options.length, ArrowUp: () => (at - 1 + options.length) % options.length, PageDown: () => Math.min(at + 8, options.length - 1), PageUp: () => Math.max(at - 8, 0) };

input.addEventListener("input", show);
dialog.addEventListener("keydown", (event) => {
  event.stopPropagation(); // keys of the view behind it
  if (event.isComposing) return;
  if (isPaletteKey(event)) dialog.close();
  else if (event.key === "Enter") run(at);
  else if (MOVES[event.key] && options.length) activate(MOVES[event.key]());
  else return;
  event.preventDefault();
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
