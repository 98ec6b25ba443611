// SillyTavern's own endpoints for AUTOMATIC1111, as its page calls them.
import express from "express";
import { call, KEY, picture, URL_, versionOf } from "./reporting.mjs";

const silent = () => {};
console.error = console.debug = console.info = silent; // its log; the report is written by console.log
const { setConfigFilePath } = await import("sillytavern/src/util.js");
setConfigFilePath("node_modules/sillytavern/default/config.yaml");
const { router } = await import("sillytavern/src/endpoints/stable-diffusion.js");
const server = express().use(express.json({ limit: "50mb" }), router).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const about = { url: URL_, auth: `any:${KEY}` };

async function ask(path, more = {}) {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...about, ...more }),
  });
  if (!answer.ok) throw new Error(`${path} gave ${answer.status}`);
  const text = await answer.text();
  return text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text;
}

const name = "SillyTavern", version = versionOf("sillytavern");
await call(name, version, "ping", () => ask("ping"));
for (const list of ["models", "samplers", "schedulers", "upscalers", "vaes"]) {
  await call(name, version, list, async () => `${(await ask(list)).length} of them`);
}
await call(name, version, "set-model, get-model", async () => {
  await ask("set-model", { model: "demo" });
  return ask("get-model");
});
await call(name, version, "generate", async () => {
  const drawing = { prompt: "a red circle", negative_prompt: "", steps: 4, cfg_scale: 7, width: 256, height: 256 };
  return picture((await ask("generate", { ...drawing, sampler_name: "Euler a", scheduler: "Automatic" })).images[0]);
});
server.close();
process.exit(0);
