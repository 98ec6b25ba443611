// Opens the menu of what can be done with a picture, importing it on first use.

import { catalog } from "./catalog.js";
import { button } from "./dom.js";
import { style } from "./router.js";
import { t } from "./strings.js";

/** `leave` is awaited before an action that shows another view. */
export async function openWorkMenu(anchor, item, leave = () => {}) {
  const [menu] = await Promise.all([import("./work-menu.js"), style("work-menu")]);
  await menu.open(anchor, item, leave);
}

/** A button to repaint a part of `item`; null when no model here can. */
export function repaintButton(item, leave = () => {}) {
  if (!catalog.models.some(({ tasks, lane, available }) => lane !== "remote" && available && tasks.includes("inpaint"))) return null;
  return button(t`Repaint a part`, "brush", async () => {
    await leave();
    const [{ repaint }] = await Promise.all([import("./work-menu.js"), style("work-menu")]);
    await repaint(item);
  });
}
