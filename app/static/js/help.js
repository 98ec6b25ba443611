// The dialog of keys, notifications and the language.

import { button, el, say } from "./dom.js";
import { chooseLanguage, chosenLanguage, LANGUAGES } from "./language.js";
import { openPalette } from "./open-palette.js";
import { localStore } from "./storage.js";
import { t } from "./strings.js";

const KEYS = [
  [t`Everywhere`, [["?", t`this list`], [t`Ctrl K`, t`all commands`], [t`Esc`, t`closes what is open, ends a selection`], [t`Tab`, t`the next control`]]],
  [t`Create`, [[t`Ctrl ↵`, t`generate, or submit the batch`]]],
  [t`Gallery`, [["← → ↑ ↓", t`the next picture`], [t`Home End`, t`the first, the last`], ["↵", t`look closer`], [t`Space`, t`select; with Shift all up to it`], [t`Ctrl A`, t`select all`], ["F", t`favourite`], [t`Del`, t`into the bin`]]],
  [t`A picture`, [["← →", t`the one before, the next`], ["+ − 0 1", t`zoom in, out, fit, actual size`], ["F", t`favourite`], [t`Del`, t`into the bin`]]],
  [t`Repaint and extend`, [["B E L H", t`brush, eraser, lasso, hand`], ["[ ]", t`smaller, larger`], ["I C", t`invert, clear the mask`], [t`Ctrl Z`, t`undo; with Shift redo`], [t`Ctrl ↵`, t`paint`]]],
];
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const named = (key) => (MAC ? key.replace(t`Ctrl`, "⌘") : key);

const note = el("p", { class: "note", id: "notify-note", role: "status" });
const box = el("input", { type: "checkbox", class: "switch", role: "switch", id: "notify", "aria-describedby": "notify-note" });
const sound = el("input", { type: "checkbox", class: "switch", role: "switch", id: "sound" });
const choice = el("select", { id: "language", onchange: () => chooseLanguage(choice.value) }, new Option(t`As the browser asks`, ""), Object.entries(LANGUAGES).map(([code, name]) => new Option(name, code)));
const group = ([title, keys]) => el("section", {}, el("h3", {}, title), el("dl", {}, keys.map(([key, does]) => el("div", {}, el("dt", {}, el("kbd", {}, named(key))), el("dd", {}, does)))));
const dialog = el(
  "dialog",
  { class: "help", id: "help-dialog", "aria-labelledby": "help-title" },
  el("h2", { id: "help-title", tabindex: "-1" }, t`Help and settings`),
  button(null, "close", () => dialog.close(), { class: "round small help-close", "aria-label": t`Close` }),
  el("div", { class: "help-notify" }, el("label", { for: "notify" }, t`Tell me when a picture is done and this page is not in sight`), box, note, el("label", { for: "sound" }, t`Play a sound then`), sound),
  el("div", { class: "help-row" }, el("label", { for: "language" }, t`Language`), el("span", { class: "select" }, choice), button(t`All commands`, null, showCommands)),
  el("div", { class: "help-keys" }, KEYS.map(group)),
);
document.body.append(dialog);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
box.addEventListener("change", choose);
sound.addEventListener("change", chooseSound);

export function open() {
  if (dialog.open) return;
  show();
  dialog.showModal();
  dialog.querySelector("h2").focus();
}

/** What the browser allows is asked for with the first click only. */
async function choose() {
  if (box.checked && "Notification" in window && Notification.permission === "default") await Notification.requestPermission();
  localStore.write("notify", box.checked && allowed() ? "on" : "off");
  show();
  if (box.checked) (await import("./notify.js")).startNotifications();
}

async function chooseSound() {
  localStore.write("sound", sound.checked ? "on" : "off");
  if (!sound.checked) return;
  const { playSound, startNotifications } = await import("./notify.js");
  startNotifications();
  playSound([660, 880]); // what it will be like
}

function showCommands() {
  dialog.close();
  openPalette();
}

const allowed = () => "Notification" in window && Notification.permission === "granted";

function show() {
  choice.value = chosenLanguage();
  sound.checked = localStore.read("sound") === "on";
  box.checked = allowed() && localStore.read("notify") === "on";
  box.disabled = !("Notification" in window) || Notification.permission === "denied";
  say(note, !("Notification" in window) ? t`This browser notifies over https only, and on the computer that the server runs on.` : Notification.permission === "denied" ? t`This browser was told not to let this page notify you; its settings change that.` : t`By a notification of the system, in this browser only.`);
}
