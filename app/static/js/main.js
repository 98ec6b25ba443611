// Entry point: starts all modules of the page.

import { signIn } from "./api.js";
import { pathTo } from "./base.js";
import { loadCatalog } from "./catalog.js";
import { startComposer } from "./composer.js";
import { startConnection } from "./connection.js";
import { $ } from "./dom.js";
import { startDrop } from "./drop.js";
import { startJobUpdates } from "./job-updates.js";
import { isPaletteKey, openPalette } from "./open-palette.js";
import { startResults } from "./results.js";
import { startRouting, style } from "./router.js";
import { startStatusPoll } from "./status-poll.js";
import { localStore } from "./storage.js";

function startTheme() {
  const root = document.documentElement;
  const colour = () => ($('meta[name="theme-color"]').content = getComputedStyle(root).getPropertyValue("--page").trim());
  $("#theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
    localStore.write("theme", root.dataset.theme);
    colour();
  });
  colour();
}

/** Loads the models, which the form needs, retrying until the server responds. */
async function startCatalog() {
  try {
    await loadCatalog();
    performance.mark("interactive");
  } catch {
    setTimeout(startCatalog, 1500);
  }
}

/** Where the server requires authentication, an API call may wait for a sign-in. */
function startAuth() {
  if (document.documentElement.dataset.auth === "none") return;
  const session = import("./session.js");
  signIn.prompt = async (method) => (await session).ask(method);
  session.then((module) => module.startSession());
}

function startKeys() {
  const open = async () => (await Promise.all([import("./help.js"), style("model-form"), style("help")]))[0].open();
  $("#help").addEventListener("click", open);
  addEventListener("keydown", (event) => event.key === "?" && !event.target.closest("input, textarea, select") && open());
  addEventListener("keydown", (event) => {
    if (!isPaletteKey(event)) return;
    event.preventDefault(); // the browser's own search
    openPalette();
  });
  if (["notify", "sound"].some((name) => localStore.read(name) === "on")) import("./notify.js").then((module) => module.startNotifications());
}

/** Where the server wants it, and the browser has one: over https, and on the server's own computer. */
function startServiceWorker() {
  if (!document.documentElement.dataset.serviceWorker || !navigator.serviceWorker) return;
  const register = () => navigator.serviceWorker.register(pathTo("service-worker.js")).catch(() => {}); // the page works without
  if (document.readyState === "complete") register();
  else addEventListener("load", register);
  if (/[?&]shared$/.test(location.hash)) import("./shared.js").then((module) => module.takeShared());
}

startTheme();
startAuth();
if (document.documentElement.dataset.remote) import("./remote-models.js").then((module) => module.startRemoteModels());
startComposer();
startCatalog();
startConnection();
startStatusPoll();
startResults();
startJobUpdates();
startDrop();
startRouting();
startKeys();
startServiceWorker();
