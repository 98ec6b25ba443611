import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { readRecipe, readTexts } from "../../app/static/js/png.js";

const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const latin = (text) => Buffer.from(text, "latin1");

function chunk(type, data) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(data.length);
  const body = Buffer.concat([latin(type), data]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([head, body, sum]);
}

const png = (...chunks) => new Uint8Array(Buffer.concat([SIGNATURE, chunk("IHDR", Buffer.alloc(13)), ...chunks, chunk("IEND", Buffer.alloc(0))]));
const plain = (keyword, text) => chunk("tEXt", Buffer.concat([latin(keyword), latin("\0"), latin(text)]));
const zipped = (keyword, text) => chunk("zTXt", Buffer.concat([latin(`${keyword}\0\0`), deflateSync(latin(text))]));
const international = (keyword, text, packed) =>
  chunk("iTXt", Buffer.concat([latin(`${keyword}\0`), Buffer.from([packed ? 1 : 0, 0]), latin("\0\0"), packed ? deflateSync(Buffer.from(text)) : Buffer.from(text)]));
const recipe = (...chunks) => readRecipe(new Blob([png(...chunks)]));

test("texts of all three kinds of chunks are read, packed or not", async () => {
  const bytes = png(plain("a", "Größe"), zipped("b", "zipped"), international("c", "日本語", false), international("d", "日本語", true));
  assert.deepEqual(await readTexts(bytes), { a: "Größe", b: "zipped", c: "日本語", d: "日本語" });
});

test("a file that is no PNG, or breaks off, has no texts that are not whole", async () => {
  assert.deepEqual(await readTexts(new Uint8Array([1, 2, 3])), {});
  assert.deepEqual(await readTexts(png(plain("a", "b")).subarray(0, 20)), {});
  assert.equal(await recipe(), null);
});

test("our own manifest is taken as it is", async () => {
  const made = { prompt: "a cat", negative_prompt: null, model_id: "demo", settings: { seed: 7 }, inputs: {}, job_id: "x" };
  assert.deepEqual(await recipe(international("cyberimage", JSON.stringify({ ...made, more: 1 }), false)), made);
  assert.equal(await recipe(international("cyberimage", JSON.stringify({ settings: {} }), false)), null);
});

test("parameters of AUTOMATIC1111 become settings in the API's names", async () => {
  const text = 'a cat,\nsleeping\nNegative prompt: dogs\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: sd15, LoRA: "ink:0.8, film:1", Hires upscale: 2, Denoising strength: 0.4, ControlNet 0: "Model: edges, Weight: 0.5"';
  const made = await recipe(plain("parameters", text));
  assert.deepEqual([made.prompt, made.negative_prompt, made.model_id], ["a cat,\nsleeping", "dogs", "sd15"]);
  const { upscale, loras, ...settings } = made.settings;
  assert.deepEqual(settings, { num_inference_steps: 20, guidance_scale: 7.5, seed: 42, scheduler: "DPM++ 2M", sigmas: "karras", width: 512, height: 768 });
  assert.deepEqual([upscale.factor, upscale.strength], [2, 0.4]);
  assert.deepEqual(loras, [{ id: "ink", scale: 0.8 }, { id: "film", scale: 1 }]);
  assert.deepEqual(made.inputs["ControlNet 0"], { model: "edges", weight: "0.5" });
});

test("parameters without settings are a prompt", async () => {
  assert.deepEqual(await recipe(plain("parameters", " just words ")), { prompt: "just words", settings: {} });
});
