// Starts the page. Each part knows its own corner; this file only knows the parts.

import { door } from "./api.js";
import { loadCatalog } from "./catalog.js";
import { startComposer } from "./composer.js";
import { startConnection } from "./connection.js";
import { $ } from "./dom.js";
import { startDrop } from "./drop.js";
import { startFollowing } from "./follow.js";
import { memory } from "./memory.js";
import { startPulse } from "./pulse.js";
import { startRouting } from "./router.js";
import { startStage } from "./stage.js";

function startTheme() {
  const root = document.documentElement;
  const colour = () => ($('meta[name="theme-color"]').content = getComputedStyle(root).getPropertyValue("--page").trim());
  $("#theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
    memory.write("theme", root.dataset.theme);
    colour();
  });
  colour();
}

/** The models are what the form needs; ask until somebody answers. */
async function startCatalog() {
  try {
    await loadCatalog();
    performance.mark("interactive");
  } catch {
    setTimeout(startCatalog, 1500);
  }
}

/** Where the server asks who is there, a call may wait for somebody to sign in. */
function startAccess() {
  if (document.documentElement.dataset.auth === "none") return;
  const session = import("./session.js");
  door.ask = async (method) => (await session).ask(method);
  session.then((module) => module.startSession());
}

startTheme();
startAccess();
startComposer();
startCatalog();
startConnection();
startPulse();
startStage();
startFollowing();
startDrop();
startRouting();
