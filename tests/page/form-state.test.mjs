import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { MODEL, answers, until } from "./document.mjs";

const form = { prompt: "left here", model_id: "demo", negative_prompt: "fog", settings: { num_inference_steps: 20, width: 128, height: 256, seed: 7, num_images: 2, guidance_scale: 6 } };
localStorage.setItem("form", JSON.stringify(form));
answers.set("/api/models", { models: [MODEL], default: "demo", prompt_max_chars: 500 });
const [{ startComposer, request }, { loadCatalog }, state] = await Promise.all(["composer", "catalog", "form-state"].map((name) => import(`../../app/static/js/${name}.js`)));

const $ = (selector) => document.querySelector(selector);
const kept = () => JSON.parse(localStorage.getItem("form"));
startComposer();
await loadCatalog();
await until(() => $("#seed").value === "7");

beforeEach(() => localStorage.setItem("prompts", ""));

test("the form that was left is there again", () => {
  assert.equal($("#prompt").value, "left here");
  const { settings, ...rest } = request();
  assert.deepEqual(rest, { prompt: "left here", model_id: "demo", negative_prompt: "fog" });
  assert.deepEqual(settings, form.settings);
});

test("a change is kept, a moment later", async () => {
  $("#prompt").value = "something new";
  $("#prompt").dispatchEvent(new Event("input", { bubbles: true }));
  await until(() => kept().prompt === "something new");
  assert.equal(state.keptPrompt(), "something new");
  assert.equal(kept().settings.seed, 7);
});

test("the history has each prompt once, the newest first, and forgets on demand", () => {
  for (const prompt of ["one", "two", "one", "  "]) {
    $("#prompt").value = prompt;
    state.recordPrompt();
  }
  assert.deepEqual(state.promptHistory().map(({ prompt }) => prompt), ["one", "two"]);
  assert.equal(state.promptHistory()[0].settings.width, 128); // with what else was in the form
  state.forgetPrompt("one");
  assert.deepEqual(state.promptHistory().map(({ prompt }) => prompt), ["two"]);
});

test("a history that was damaged is empty, and one that grew is cut", () => {
  localStorage.setItem("prompts", "{]");
  assert.deepEqual(state.promptHistory(), []);
  localStorage.setItem("prompts", JSON.stringify([...Array.from({ length: 300 }, (_, at) => ({ prompt: `number ${at}` })), { nothing: 1 }]));
  $("#prompt").value = "the newest";
  state.recordPrompt();
  assert.equal(state.promptHistory().length, 200);
  assert.equal(state.promptHistory()[0].prompt, "the newest");
});

test("a snapshot has no pictures, which are kept apart", () => {
  const taken = state.snapshot();
  assert.deepEqual(Object.keys(taken).sort(), ["model_id", "negative_prompt", "prompt", "settings"]);
  assert.equal("strength" in taken.settings, false);
});

test("a snapshot fills the form", async () => {
  await state.fill({ ...form, prompt: "filled", settings: { ...form.settings, seed: 11, num_inference_steps: 30 } });
  const { prompt, settings } = request();
  assert.deepEqual([prompt, settings.seed, settings.num_inference_steps], ["filled", 11, 30]);
});
