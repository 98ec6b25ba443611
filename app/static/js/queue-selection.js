// Selecting rows of the queue view, to cancel many jobs at once.

import { ApiError, cancel, post } from "./api.js";
import { $$, button, el, say } from "./dom.js";
import { plural } from "./format.js";
import { announce, toast } from "./notices.js";
import { t } from "./strings.js";

const AT_ONCE = 4; // requests

/** The button that begins a selection, and the bar that is shown meanwhile. `lists` hold the rows; `after` is called when
 * something was cancelled. */
export function queueSelection(lists, after) {
  const all = el("input", { type: "checkbox", id: "queue-all" });
  const go = button(t`Cancel`, "close", () => run(), { class: "quiet danger", disabled: true });
  const bar = el("div", { class: "queue-bar", role: "group", "aria-label": t`Selection`, hidden: true }, el("label", { class: "check" }, all, el("span", {}, t`All`)), go, button(t`Done`, null, () => toggle(false)));
  const start = button(t`Select`, "select", () => toggle(bar.hidden), { "aria-pressed": "false", id: "queue-select" });
  const boxes = () => lists.flatMap((list) => $$(".row-check", list));
  const chosen = () => boxes().filter((box) => box.checked).map((box) => box.closest(".row"));

  function toggle(on) {
    bar.hidden = !on;
    start.setAttribute("aria-pressed", String(on));
    for (const list of lists) list.toggleAttribute("data-selecting", on);
    if (on) return show();
    for (const box of boxes()) box.checked = false;
    all.checked = false;
    show();
    if (bar.contains(document.activeElement)) start.focus();
  }

  /** Also called when rows came and went. */
  function show() {
    const count = chosen().length;
    const total = boxes().length;
    start.disabled = total === 0 && bar.hidden;
    all.checked = total > 0 && count === total;
    all.indeterminate = count > 0 && count < total;
    go.disabled = count === 0;
    say(go.lastChild, count ? t`Cancel ${count}` : t`Cancel`);
  }

  async function run() {
    const rows = chosen();
    const asked = { question: t`Cancel ${plural(rows.length, "entry", "entries")}?`, explanation: t`Waiting jobs end at once, running ones at their next step. A batch ends with all its jobs. Finished pictures stay.`, label: t`Cancel them` };
    if (rows.length > 1 && !(await (await import("./confirm.js")).confirm(asked))) return;
    const problem = await cancelRows(rows.map(({ dataset }) => dataset));
    if (problem) toast(problem, { kind: "error" });
    else announce(t`${plural(rows.length, "entry", "entries")} cancelled.`);
    toggle(false);
    after();
  }

  for (const list of lists) list.addEventListener("change", show);
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    show();
  });
  bar.addEventListener("keydown", ({ key }) => key === "Escape" && toggle(false));
  return { start, bar, show };
}

/** `keys` are {id} of jobs and {waits} of batches. Returns what went wrong, as a sentence; null when nothing did. What has
 * ended meanwhile needs no cancelling. */
async function cancelRows(keys) {
  const left = [...keys];
  let problem = null;
  const work = async () => {
    for (let key = left.shift(); key; key = left.shift()) {
      try {
        await (key.waits ? post(`api/batches/${key.waits}/cancel`) : cancel(key.id));
      } catch (error) {
        if (!(error instanceof ApiError && [404, 409, 410].includes(error.status))) problem = error.message;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return problem;
}
