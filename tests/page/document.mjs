// The page's document without a browser: what index.html has, in happy-dom, and answers of a server that is not there.

import { readFileSync } from "node:fs";
import { Window } from "happy-dom";

const window = new Window({ url: "http://cyberimage.test/" });
window.document.write(readFileSync(process.env.PAGE, "utf8"));
window.matchMedia = () => ({ matches: false, addEventListener() {} });
for (const name of ["document", "localStorage", "sessionStorage", "location", "history", "navigator", "Event", "CustomEvent", "HashChangeEvent"]) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
}

/** What happy-dom has not, or only for blobs of its own. */
globalThis.Option = function (text, value) {
  return Object.assign(document.createElement("option"), { textContent: text, value });
};
globalThis.FileReader = class {
  async readAsDataURL(blob) {
    this.result = `data:${blob.type};base64,${Buffer.from(await blob.arrayBuffer()).toString("base64")}`;
    this.onload();
  }
};
Object.assign(globalThis, { window, matchMedia: window.matchMedia, addEventListener: window.addEventListener.bind(window), innerWidth: 1280 });

export const answers = new Map(); // path → body, or a status
export const asked = []; // paths, in their order

/** Modules that are files have addresses below their folder: what counts begins with /api. */
globalThis.fetch = async (address) => {
  const path = address.slice(Math.max(0, address.lastIndexOf("/api/")));
  asked.push(path);
  const found = answers.get(path) ?? 404;
  return typeof found === "number" ? new Response("{}", { status: found }) : new Response(JSON.stringify(found), { status: 200 });
};

export const MODEL = {
  id: "demo",
  name: "Demo",
  aliases: ["built-in"],
  repo: "builtin",
  source: "local",
  lane: "local",
  group: "built-in",
  media: "image",
  description: "",
  tasks: ["txt2img", "img2img"],
  roles: ["image"],
  schedulers: ["euler", "heun"],
  steps: { min: 4, max: 40, default: 12 },
  defaults: { width: 256, height: 256, guidance_scale: 3.5 },
  limits: { min_width: 64, max_width: 512, min_height: 64, max_height: 512, multiple_of: 8, max_images: 4, min_guidance_scale: 1, max_guidance_scale: 20 },
  example_prompts: [],
  available: true,
  loaded: false,
  fits: { answer: "yes", plan: "full", reason: "" },
};

export const until = async (test) => {
  for (let turn = 0; turn < 200 && !test(); turn++) await new Promise((resolve) => setTimeout(resolve, 10));
  if (!test()) throw new Error(`it never became true: ${test}`);
};
