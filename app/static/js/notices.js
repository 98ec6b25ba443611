// Notices: toasts, optionally with an action, and a live region for screen readers.

import { $, el, icon, say } from "./dom.js";
import { t } from "./strings.js";

const MOST = 3;

export function announce(sentence) {
  say($("#announcer"), sentence);
}

/**
 * Shows a toast for `stay` seconds, longer while hovered or focused. `action` is {label, run}.
 * `dismissed` is called once when it disappears without its action having been used. Returns a function that removes it.
 */
export function toast(sentence, { kind = "info", action = null, stay = 6, dismissed = null } = {}) {
  let timer = null;
  let over = false;
  const end = (used = false) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    node.remove();
    if (!used) dismissed?.();
  };
  const run = () => {
    end(true);
    action.run();
  };
  const node = el(
    "div",
    { class: "toast", data: { kind } },
    el("p", { role: kind === "error" ? "alert" : "status" }, sentence),
    action && el("button", { type: "button", class: "toast-action", onclick: run }, action.label),
    el("button", { type: "button", class: "round small toast-dismiss", "aria-label": t`Dismiss`, onclick: () => end() }, icon("close")),
  );
  const wait = () => (timer = setTimeout(end, stay * 1000));
  const hold = () => clearTimeout(timer);
  for (const name of ["pointerenter", "focusin"]) node.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) node.addEventListener(name, () => over || wait());
  const box = place();
  const [first, ...others] = [...box.children].sort((one, other) => hasAction(one) - hasAction(other));
  if (others.length >= MOST - 1) first.querySelector(".toast-dismiss").click(); // those that offer nothing first
  box.append(node);
  wait();
  return end;
}

const hasAction = (node) => Number(Boolean($(".toast-action", node)));

/** The toast container; moved into an open modal dialog, which covers everything else. */
function place() {
  const box = $("#toasts");
  const host = $("dialog[open]") ?? document.body;
  if (box.parentNode !== host) host.append(box);
  return box;
}
