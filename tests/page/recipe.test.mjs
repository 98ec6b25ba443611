import assert from "node:assert/strict";
import { test } from "node:test";
import { answers, asked } from "./document.mjs";

const { Missing, givenSettings, inputsOf, recipe, repaintOf } = await import("../../app/static/js/recipe.js");
const ID = "0123456789abcdef".repeat(2);
const thumbnail = `/api/image/${ID}/thumbnail`;

test("a recipe is what the item has, else its picture's metadata, else its job's status", async () => {
  const job = { job_id: "j", settings: { seed: 1 } };
  assert.equal(await recipe(job), job);
  const manifest = { prompt: "x" };
  assert.equal(await recipe({ manifest }), manifest);
  answers.set("/api/image/a/metadata", { manifest: { prompt: "from the file" } });
  assert.equal((await recipe({ metadata_url: "/api/image/a/metadata" })).prompt, "from the file");
  answers.set("/api/status/j", { prompt: "of the job" });
  assert.equal((await recipe({ job_id: "j" })).prompt, "of the job");
});

test("settings that were not given are left out, and those of a mask are told apart", () => {
  const made = { settings: { seed: 0, width: null, mask_blur: 4, inpaint_area: "masked", shift: undefined } };
  assert.deepEqual(givenSettings(made), { seed: 0, mask_blur: 4, inpaint_area: "masked" });
  assert.deepEqual(repaintOf(made), { mask_blur: 4, inpaint_area: "masked" });
  assert.deepEqual([givenSettings({}), repaintOf({})], [{}, {}]);
});

test("pictures of the gallery come back by their id, controls with what they had", async () => {
  answers.set(thumbnail, {});
  const inputs = { image: { image_id: ID }, "control-1": { role: "control", image_id: ID, weight: 0.5, processor: "canny", model: null } };
  const found = await inputsOf({ job_id: "j", settings: { strength: 0.4 }, inputs });
  assert.deepEqual(found.images.map(({ source }) => source), [ID]);
  assert.deepEqual([found.others[0].role, found.others[0].weight, "model" in found.others[0]], ["control", 0.5, false]);
  assert.deepEqual([found.strength, found.part], [0.4, null]);
});

test("a picture that is not in the gallery any more comes from its job; one that is nowhere is missing", async () => {
  answers.set(thumbnail, 410);
  answers.set("/api/jobs/j/inputs/image", { pixels: 1 });
  asked.length = 0;
  const { images } = await inputsOf({ job_id: "j", inputs: { image: { image_id: ID } } });
  assert.match(images[0].source, /^data:/);
  assert.deepEqual(asked, [thumbnail, "/api/jobs/j/inputs/image"]);
  await assert.rejects(inputsOf({ job_id: "j", inputs: { image: { image_id: ID, extend: { left: 8 } } } }), Missing); // what is stored has its extension already
  answers.set("/api/jobs/j/inputs/image", 404);
  await assert.rejects(inputsOf({ job_id: "j", inputs: { image: { image_id: ID } } }), Missing);
});
