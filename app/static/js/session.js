// Sign-in and sign-out; loaded only where the server requires authentication. The token is sent once and exchanged for an
// HttpOnly cookie. The form behind the dialog keeps its input.

import { ApiError, call } from "./api.js";
import { catalog } from "./catalog.js";
import { $, el, icon, say } from "./dom.js";
import { announce } from "./notices.js";
import { style } from "./router.js";
import { pollNow } from "./status-poll.js";
import { closeStores, localStore, sessionStore } from "./storage.js";
import { t } from "./strings.js";

const MODE = document.documentElement.dataset.auth;
const WORDS = {
  keys: {
    label: t`Your key`,
    hint: "ci_…",
    note: t`This server requires a key. Its administrator can give you one.`,
  },
  huggingface: {
    label: t`Your Hugging Face token`,
    hint: "hf_…",
    note: t`This server requires a Hugging Face token. Read access is enough; the token is kept in the server’s memory while you are signed in.`,
  },
}[MODE];

let asking = null; // the promise of `ask` while the dialog is open
let declined = false;

const badge = el("button", { class: "account", id: "account", type: "button", hidden: true, onclick: () => (badge.dataset.name ? signOut() : askAgain()) });
const token = el("input", { id: "token", name: "token", type: "password", required: true, placeholder: WORDS.hint, autocomplete: "current-password", spellcheck: "false", "aria-describedby": "sign-in-note sign-in-error" });
const problem = el("p", { class: "form-error", id: "sign-in-error", role: "alert", hidden: true });
const submit = el("button", { class: "primary", type: "submit" }, t`Sign in`);
const form = el(
  "form",
  { class: "sign-in-form", method: "dialog", novalidate: true, onsubmit: submitToken },
  el("h2", { id: "sign-in-title" }, t`Sign in`),
  el("p", { class: "note", id: "sign-in-note" }, WORDS.note),
  el("div", { class: "field" }, el("label", { for: "token" }, WORDS.label), token),
  problem,
  submit,
);
const close = el("button", { class: "round small sign-in-close", type: "button", "aria-label": t`Not now`, onclick: () => dialog.close() }, icon("close"));
const dialog = el("dialog", { class: "sign-in", id: "sign-in", "aria-labelledby": "sign-in-title" }, form, close);

$("#theme").before(badge);
document.body.append(dialog);

/** Shows who is signed in. */
export async function startSession() {
  const found = await call("api/session").catch(() => null);
  if (found) show(found);
}

/** Opens the dialog; resolves to whether the user signed in. After a refusal, background requests (GET) do not reopen it. */
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
  if (await ask("POST")) dispatchEvent(new HashChangeEvent("hashchange")); // the open view reloads its data
}

async function submitToken(event) {
  event.preventDefault();
  if (!token.value.trim()) return complain(t`Paste your key or token here first.`);
  submit.setAttribute("aria-busy", "true");
  try {
    show(await call("api/session", { method: "POST", body: { token: token.value.trim() }, anonymous: true }));
    dialog.close("in");
    announce(t`Signed in as ${badge.dataset.name}.`);
    pollNow();
  } catch (error) {
    complain(error instanceof ApiError && error.code === "invalid_request" ? t`This is not a valid key or token.` : error.message);
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

function show({ signed_in: there, name, role }) {
  const keys = $('.tabs [data-view="keys"]');
  if (keys) keys.hidden = role !== "admin";
  badge.dataset.name = there ? name : "";
  Object.assign(document.documentElement.dataset, { signed: there ? "in" : "out", role: role ?? "" });
  say($("#generate-text"), there ? t`Generate` : t`Sign in to generate`);
  catalog.changed.emit(); // what depends on it is drawn anew
  badge.hidden = false;
  badge.title = there ? t`Signed in as ${name}. Click to sign out.` : t`Sign in`;
  badge.setAttribute("aria-label", there ? t`Sign out ${name}` : t`Sign in`);
  badge.replaceChildren(icon(there ? "leave" : "enter"), el("span", {}, there ? name : t`Sign in`));
}

/** Reloads the page, so that no data of the previous user is left. */
async function signOut() {
  try {
    await call("api/session", { method: "DELETE", anonymous: true });
  } catch (error) {
    return announce(error.message);
  }
  for (const name of ["jobs", "form", "prompts", "batch"]) localStore.write(name, "");
  sessionStore.write("prompt", "");
  closeStores();
  location.reload();
}
