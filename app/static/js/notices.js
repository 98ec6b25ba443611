// Says things: toasts for the eye (with an action where there is one), a live region for screen readers.

import { $, el, icon, say } from "./dom.js";

const MOST = 3;

export function announce(sentence) {
  say($("#announcer"), sentence);
}

/**
 * Shows a notice for `stay` seconds, longer while pointed at or focused. `action` is {label, run}.
 * `gone` is called once when it disappears without its action having been used. Returns a function that removes it.
 */
export function toast(sentence, { kind = "info", action = null, stay = 6, gone = null } = {}) {
  let timer = null;
  let over = false;
  const end = (used = false) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    node.remove();
    if (!used) gone?.();
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
    el("button", { type: "button", class: "round small", "aria-label": "Dismiss", onclick: () => end() }, icon("close")),
  );
  const wait = () => (timer = setTimeout(end, stay * 1000));
  const hold = () => clearTimeout(timer);
  for (const name of ["pointerenter", "focusin"]) node.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) node.addEventListener(name, () => over || wait());
  const box = place();
  while (box.children.length >= MOST) box.firstElementChild.querySelector('[aria-label="Dismiss"]').click();
  box.append(node);
  wait();
  return end;
}

/** A modal dialog covers everything else: notices move into it while it is open. */
function place() {
  const box = $("#toasts");
  const host = $("dialog[open]") ?? document.body;
  if (box.parentNode !== host) host.append(box);
  return box;
}
