import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.mjs";
import { bytes, ordinal, plural, seconds, shape } from "../../app/static/js/format.js";

test("durations get the unit that they are read in", () => {
  const said = [0.2, 1, 9.94, 12.4, 89, 90, 5399, 5400, 172_799, 172_800].map(seconds);
  assert.deepEqual(said, ["under a second", "1.0 s", "9.9 s", "12 s", "89 s", "2 min", "90 min", "2 h", "48 h", "2 days"]);
});

test("sizes are decimal, with a digit behind the point where it says something", () => {
  assert.deepEqual([0, 999, 1000, 1_500_000, 23_400_000, 1e9, 1.5e15].map(bytes), ["0 MB", "999 B", "1 KB", "1.5 MB", "23 MB", "1.0 GB", "1500 TB"]);
});

test("ordinals and plurals", () => {
  assert.deepEqual([1, 2, 3, 4, 11, 21, 112].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "21st", "112th"]);
  assert.deepEqual([plural(1, "job"), plural(1200, "job"), plural(2, "entry", "entries")], ["1 job", "1,200 jobs", "2 entries"]);
});

test("a size has the name of the ratio that it is near to, and none when it is near to none", () => {
  assert.deepEqual([shape(512, 512), shape(704, 384), shape(384, 704), shape(1344, 576), shape(512, 448)], ["1:1", "16:9", "9:16", "21:9", null]);
});
