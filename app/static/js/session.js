// Signing in and out, where the server asks who is there; loaded only then. The token goes to the server once and comes
// back as a cookie that this page cannot read. Nothing that was typed below the dialog is touched.

import { ApiError, call } from "./api.js";
import { $, el, icon, say } from "./dom.js";
import { draft } from "./memory.js";
import { announce } from "./notices.js";
import { beatNow } from "./pulse.js";
import { style } from "./router.js";

const MODE = document.documentElement.dataset.auth;
const WORDS = {
  keys: {
    label: "Your key",
    hint: "ci_…",
    note: "This server asks who is there. Whoever runs it gives out keys.",
  },
  huggingface: {
    label: "Your Hugging Face token",
    hint: "hf_…",
    note: "This server asks who is there. A token that may read is enough; it is kept in the server’s memory while you are signed in.",
  },
}[MODE];

let asking = null; // what `ask` promised while the dialog is open
let declined = false;

const badge = el("button", { class: "who", id: "who", type: "button", hidden: true, onclick: () => (badge.dataset.name ? signOut() : askAgain()) });
const token = el("input", { id: "token", name: "token", type: "password", required: true, placeholder: WORDS.hint, autocomplete: "current-password", spellcheck: "false", "aria-describedby": "sign-in-note sign-in-error" });
const problem = el("p", { class: "form-error", id: "sign-in-error", role: "alert", hidden: true });
const submit = el("button", { class: "primary", type: "submit" }, "Sign in");
const form = el(
  "form",
  { class: "sign-in-form", method: "dialog", novalidate: true, onsubmit: trade },
  el("h2", { id: "sign-in-title" }, "Sign in"),
  el("p", { class: "note", id: "sign-in-note" }, WORDS.note),
  el("div", { class: "field" }, el("label", { for: "token" }, WORDS.label), token),
  problem,
  submit,
);
const close = el("button", { class: "round small sign-in-close", type: "button", "aria-label": "Not now", onclick: () => dialog.close() }, icon("close"));
const dialog = el("dialog", { class: "sign-in", id: "sign-in", "aria-labelledby": "sign-in-title" }, form, close);

$("#theme").before(badge);
document.body.append(dialog);

/** Shows who is signed in. */
export async function startSession() {
  const found = await call("api/session").catch(() => null);
  if (found) show(found);
}

/** Resolves to whether somebody signed in. Who said no is not asked again by what the page does on its own. */
export function ask(method) {
  if (declined && method === "GET") return Promise.resolve(false);
  asking ??= open().finally(() => (asking = null));
  return asking;
}

async function open() {
  await style("sign-in");
  complain(null);
  dialog.returnValue = "";
  dialog.showModal();
  token.focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  token.value = "";
  declined = dialog.returnValue !== "in";
  if (declined) show({ signed_in: false });
  return !declined;
}

async function askAgain() {
  declined = false;
  if (await ask("POST")) dispatchEvent(new HashChangeEvent("hashchange")); // the view that is open asks anew
}

async function trade(event) {
  event.preventDefault();
  if (!token.value.trim()) return complain("Paste it here first.");
  submit.setAttribute("aria-busy", "true");
  try {
    show(await call("api/session", { method: "POST", body: { token: token.value.trim() }, guest: true }));
    dialog.close("in");
    announce(`Signed in as ${badge.dataset.name}.`);
    beatNow();
  } catch (error) {
    complain(error instanceof ApiError && error.code === "invalid_request" ? "That is no token." : error.message);
    token.select();
  } finally {
    submit.removeAttribute("aria-busy");
  }
}

function complain(sentence) {
  problem.hidden = !sentence;
  say(problem, sentence ?? "");
  token.setAttribute("aria-invalid", String(Boolean(sentence)));
}

function show({ signed_in: there, name }) {
  badge.dataset.name = there ? name : "";
  badge.hidden = false;
  badge.title = there ? `Signed in as ${name}. Click to sign out.` : "Sign in";
  badge.setAttribute("aria-label", there ? `Sign out ${name}` : "Sign in");
  badge.replaceChildren(icon(there ? "leave" : "enter"), el("span", {}, there ? name : "Sign in"));
}

/** Loading anew is the surest way to leave nothing of somebody else's behind. */
async function signOut() {
  try {
    await call("api/session", { method: "DELETE", guest: true });
  } catch (error) {
    return announce(error.message);
  }
  for (const name of ["jobs", "prompt"]) draft.write(name, "");
  location.reload();
}
