// Entry point: starts all modules of the page.

import { signIn } from "./api.js";
import { loadCatalog } from "./catalog.js";
import { startComposer } from "./composer.js";
import { startConnection } from "./connection.js";
import { $ } from "./dom.js";
import { startDrop } from "./drop.js";
import { startJobUpdates } from "./job-updates.js";
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

function startHelp() {
  const open = async () => (await Promise.all([import("./help.js"), style("model-form"), style("help")]))[0].open();
  $("#help").addEventListener("click", open);
  addEventListener("keydown", (event) => event.key === "?" && !event.target.closest("input, textarea, select") && open());
  if (localStore.read("notify") === "on") import("./notify.js").then((module) => module.startNotifications());
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
startHelp();
