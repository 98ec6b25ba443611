import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.mjs";
import { batchBody, FIELDS, HINTS, kindOf, placed, readSeeds, readValues } from "../../app/static/js/batch-values.js";

const values = (kind, text) => readValues(kind, text).values;
const batch = (more = {}) => ({ axes: [], seeds: "same", seedCount: "4", seedList: "", mode: "combinatorial", samples: "16", draw: "0", name: "", ...more });
const request = { prompt: "a boat", model_id: "demo", settings: { seed: -1 } };

test("every field has a kind with a hint", () => {
  for (const [, , kind] of FIELDS) assert.ok(HINTS[kind]);
  assert.equal(kindOf("settings.loras.0.scale"), "numbers");
  assert.equal(kindOf("settings.sigmas"), "any");
});

test("numbers are listed, or given as ranges in three spellings", () => {
  assert.deepEqual(values("numbers", "2, 3.5,5"), [2, 3.5, 5]);
  assert.deepEqual(values("numbers", "2..3 by 0.25"), [2, 2.25, 2.5, 2.75, 3]);
  assert.deepEqual(values("numbers", "2-4"), [2, 3, 4]);
  assert.deepEqual(values("integers", "10-50 (+20)"), [10, 30, 50]);
  assert.deepEqual(values("numbers", "3..1"), [3, 2, 1]);
  assert.deepEqual(values("numbers", "-1..1"), [-1, 0, 1]);
  assert.deepEqual(values("numbers", "0..1 by 0.1").at(3), 0.3); // no 0.30000000000000004
});

test("what is no number, no whole one or far too many is told in words", () => {
  assert.match(readValues("numbers", "2, high").problem, /“high” is no number/);
  assert.match(readValues("integers", "1.5").problem, /1.5 is no whole number/);
  assert.match(readValues("numbers", "1..100000").problem, /more than 1,000 values/);
  assert.match(readValues("numbers", "1..2 by 0").problem, /more than 1,000 values/);
  assert.match(readValues("words", " , ").problem, /at least one/);
});

test("words are separated by commas, or by lines, which may have commas", () => {
  assert.deepEqual(values("words", "euler, heun"), ["euler", "heun"]);
  assert.deepEqual(values("words", "a, b\nc"), ["a, b", "c"]);
  assert.deepEqual(values("lines", "a red, old boat"), ["a red, old boat"]);
});

test("sizes and LoRAs", () => {
  assert.deepEqual(values("sizes", "512x768, 64 × 96, 256"), ["512x768", "64x96", "256x256"]);
  assert.match(readValues("sizes", "wide").problem, /no size/);
  assert.deepEqual(values("loras", "none, ink:0.8 + film, some/repo"), [[], [{ id: "ink", scale: 0.8 }, { id: "film", scale: 1 }], [{ id: "some/repo", scale: 1 }]]);
  assert.match(readValues("loras", "ink + ").problem, /no LoRA beside/);
  assert.deepEqual(values("any", "true, 3, x, null"), [true, 3, "x", null]);
});

test("seeds have bounds", () => {
  assert.deepEqual(readSeeds("7, 20..22").values, [7, 20, 21, 22]);
  assert.match(readSeeds("4294967296").problem, /is no seed/);
  assert.match(readSeeds("-1").problem, /is no seed/);
});

test("the body is that of the form with its holes", () => {
  const axes = [{ field: "settings.guidance_scale", search: "", text: "2, 3" }, { field: "prompt_replace", search: "boat", text: "ship, raft" }];
  const { body, problems } = batchBody(request, batch({ axes, seeds: "list", seedList: "1,2", mode: "sampled", samples: "9", draw: "3", name: "boats" }));
  assert.deepEqual(problems, []);
  assert.deepEqual(body.axes, [{ field: "settings.guidance_scale", values: [2, 3] }, { field: "prompt_replace", values: ["ship", "raft"], search: "boat" }]);
  assert.deepEqual([body.seeds, body.mode, body.samples, body.sample_seed, body.name], [[1, 2], "sampled", 9, 3, "boats"]);
  assert.equal(request.axes, undefined);
  assert.equal(batchBody(request, batch()).body.seeds, undefined);
  assert.equal(batchBody(request, batch({ seeds: "each" })).body.seeds, "each");
  assert.equal(batchBody(request, batch({ seeds: "several" })).body.seeds, 4);
});

test("whole prompts take the place of the form's", () => {
  const { body, problems } = batchBody({ ...request, prompt: "" }, batch({ axes: [{ field: "prompt", search: "", text: "a cat\na dog" }] }));
  assert.deepEqual([body.prompt, body.axes[0].values, problems], [undefined, ["a cat", "a dog"], []]);
});

test("what is missing is told with its place", () => {
  const axes = [{ field: "settings.guidance_scale", search: "", text: "" }, { field: "prompt_replace", search: "", text: "x" }, { field: "", search: "", text: "1" }];
  const { problems } = batchBody({ ...request, prompt: " " }, batch({ axes, seeds: "list", seedList: "x" }));
  assert.deepEqual(problems.map(({ field }) => field), ["axes.0.values", "axes.1.search", "axes.2.field", "prompt", "seeds"]);
});

test("errors of the server come to their places", () => {
  const fields = ["settings.guidance_scale", "size", "settings.loras"];
  const at = (field) => placed([{ field, message: "is wrong" }], fields)[0];
  assert.deepEqual([at("axes.1.values").at, at("axes.1.values.3").part, at("axes.0.field").part], [1, "values", "field"]);
  assert.deepEqual([at("seeds").part, at("samples").part, at("prompt").part], ["seeds", "samples", "prompt"]);
  assert.deepEqual([at("jobs.4.settings.width").at, at("jobs.4.settings.width").message], [1, "Of picture 5: is wrong"]);
  assert.equal(at("jobs.4.settings.loras.0").at, 2);
  assert.deepEqual([at("jobs.4.settings.strength").at, at("jobs.4.settings.strength").message], [null, "Picture 5: settings.strength is wrong"]);
  assert.deepEqual([at("body").message, at("axes").message], ["The batch is wrong.", "The batch is wrong."]);
  assert.equal(at("axes.7.values").part, "other"); // of an axis that is not there
});
