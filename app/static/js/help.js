// The dialog of keys and notifications.

import { button, el, say } from "./dom.js";
import { localStore } from "./storage.js";

const KEYS = [
  ["Everywhere", [["?", "this list"], ["Esc", "closes what is open, ends a selection"], ["Tab", "the next control"]]],
  ["Create", [["Ctrl ↵", "generate, or submit the batch"]]],
  ["Gallery", [["← → ↑ ↓", "the next picture"], ["Home End", "the first, the last"], ["↵", "look closer"], ["Space", "select; with Shift all up to it"], ["Ctrl A", "select all"], ["F", "favourite"], ["Delete", "into the bin"]]],
  ["A picture", [["← →", "the one before, the next"], ["+ − 0 1", "zoom in, out, fit, actual size"], ["F", "favourite"], ["Delete", "into the bin"]]],
  ["Repaint and extend", [["B E L H", "brush, eraser, lasso, hand"], ["[ ]", "smaller, larger"], ["I C", "invert, clear the mask"], ["Ctrl Z", "undo; with Shift redo"], ["Ctrl ↵", "paint"]]],
];
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const named = (key) => (MAC ? key.replace("Ctrl", "⌘") : key);

const note = el("p", { class: "note", id: "notify-note", role: "status" });
const box = el("input", { type: "checkbox", class: "switch", role: "switch", id: "notify", "aria-describedby": "notify-note" });
const group = ([title, keys]) => el("section", {}, el("h3", {}, title), el("dl", {}, keys.map(([key, does]) => el("div", {}, el("dt", {}, el("kbd", {}, named(key))), el("dd", {}, does)))));
const dialog = el(
  "dialog",
  { class: "help", id: "help-dialog", "aria-labelledby": "help-title" },
  el("h2", { id: "help-title", tabindex: "-1" }, "Keys and notifications"),
  button(null, "close", () => dialog.close(), { class: "round small help-close", "aria-label": "Close" }),
  el("div", { class: "help-notify" }, el("label", { for: "notify" }, "Tell me when a picture is done and this page is not in sight"), box, note),
  el("div", { class: "help-keys" }, KEYS.map(group)),
);
document.body.append(dialog);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
box.addEventListener("change", choose);

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

const allowed = () => "Notification" in window && Notification.permission === "granted";

function show() {
  box.checked = allowed() && localStore.read("notify") === "on";
  box.disabled = !("Notification" in window) || Notification.permission === "denied";
  say(note, !("Notification" in window) ? "This browser notifies over https only, and on the computer that the server runs on." : Notification.permission === "denied" ? "This browser was told not to let this page notify you; its settings change that." : "By a notification of the system, in this browser only.");
}
