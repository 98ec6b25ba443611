// The keys view, for administrators where AUTH_MODE is keys: list, create, revoke. A new token is shown once.

import { call, get, post } from "./api.js";
import { button, el, say } from "./dom.js";
import { ago, when } from "./format.js";
import { announce, toast } from "./notices.js";
import { t } from "./strings.js";

const parts = {};

export function build(root) {
  const name = el("input", { id: "key-name", name: "name", maxlength: 100, required: true, autocomplete: "off", placeholder: "alice" });
  const role = el("select", { id: "key-role", name: "role" }, el("option", { value: "user" }, t`User`), el("option", { value: "admin" }, t`Administrator`));
  const limit = el("input", { id: "key-limit", name: "rate_limit_generate", maxlength: 200, autocomplete: "off", placeholder: "10 per minute; 200 per day", "aria-describedby": "key-limit-note" });
  const field = (label, input, note = null) => el("div", { class: "field" }, el("label", { for: input.id }, label), input.tagName === "SELECT" ? el("span", { class: "select" }, input) : input, note);
  parts.problem = el("p", { class: "form-error", id: "key-error", role: "alert", hidden: true });
  parts.form = el(
    "form",
    { class: "key-form", novalidate: true, onsubmit: create },
    field(t`Name`, name),
    field(t`Role`, role),
    field(t`Image limit`, limit, el("p", { class: "note", id: "key-limit-note" }, t`Empty: as for everyone.`)),
    el("button", { class: "quiet strong", type: "submit" }, t`Create key`),
    parts.problem,
  );
  parts.created = el("div", { class: "key-created", role: "status", hidden: true });
  parts.list = el("ul", { class: "rows" });
  parts.revoked = el("ul", { class: "rows" });
  parts.old = el("details", { class: "why", hidden: true }, el("summary", {}, t`Revoked keys`), parts.revoked);
  root.append(
    el("header", { class: "view-head" }, el("h1", { id: "keys-title", tabindex: "-1" }, t`Keys`)),
    el("section", { class: "queue-part", "aria-label": t`New key` }, parts.form, parts.created),
    el("section", { class: "queue-part key-list", "aria-label": t`Keys in use` }, parts.list, parts.old),
  );
}

export const show = () => refresh();

/** A token that was shown is not kept on the page. */
export function hide() {
  parts.created.hidden = true;
  parts.created.replaceChildren();
}

async function refresh() {
  try {
    const { keys } = await get("api/keys");
    parts.list.replaceChildren(...keys.filter((key) => !key.revoked_at).map(row));
    const revoked = keys.filter((key) => key.revoked_at);
    parts.revoked.replaceChildren(...revoked.map(row));
    parts.old.hidden = !revoked.length;
  } catch (error) {
    complain(error.message);
  }
}

async function create(event) {
  event.preventDefault();
  const { name, role, rate_limit_generate: limit } = Object.fromEntries(new FormData(parts.form));
  if (!name.trim()) return complain(t`Give the key a name: whose it is.`);
  try {
    const key = await post("api/keys", { name: name.trim(), role, rate_limit_generate: limit.trim() || null });
    complain(null);
    parts.form.reset();
    reveal(key);
    await refresh();
  } catch (error) {
    complain(error.errors?.[0]?.message ?? error.message);
  }
}

function reveal({ name, token }) {
  const shown = el("input", { readonly: true, value: token, "aria-label": t`Key of ${name}`, spellcheck: "false", onfocus: () => shown.select() });
  const copied = () => navigator.clipboard.writeText(token).then(() => announce(t`Copied.`), () => shown.focus());
  parts.created.replaceChildren(el("p", {}, t`The key of ${name}. It is shown this once: pass it on now.`), el("div", { class: "key-token" }, shown, button(t`Copy`, "copy", copied)));
  parts.created.hidden = false;
}

function row(key) {
  const facts = [
    t`made ${ago(key.created_at)}`,
    key.last_used_at ? t`used ${ago(key.last_used_at)}` : t`never used`,
    key.rate_limit_generate !== null && t`images: ${key.rate_limit_generate || t`no limit`}`,
    key.rate_limit_read !== null && t`requests: ${key.rate_limit_read || t`no limit`}`,
    key.revoked_at && t`revoked ${when(key.revoked_at)}`,
  ];
  return el(
    "li",
    { class: "row", data: { id: key.key_id } },
    el(
      "div",
      { class: "row-words" },
      el("p", { class: "row-prompt", dir: "auto" }, key.name, key.role === "admin" && el("span", { class: "chip" }, t`administrator`)),
      el("p", { class: "facts" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
    ),
    !key.revoked_at && button(t`Revoke`, "trash", () => revoke(key), { class: "quiet danger", "aria-label": t`Revoke the key of ${key.name}` }),
  );
}

/** Asks first, by a toast: a revoked key cannot be brought back. */
function revoke(key) {
  const run = async () => {
    try {
      await call(`api/keys/${key.key_id}`, { method: "DELETE" });
      announce(t`The key of ${key.name} is revoked.`);
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
    await refresh();
  };
  toast(t`Revoke the key of ${key.name}? It stops working at once. Jobs and pictures stay.`, { action: { label: t`Revoke`, run }, stay: 12 });
}

function complain(sentence) {
  parts.problem.hidden = !sentence;
  say(parts.problem, sentence ?? "");
}
