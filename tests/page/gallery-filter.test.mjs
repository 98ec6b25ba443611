import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.mjs";
import { DEFAULTS, fromAddress, hasPictures, isFiltered, isOfPictures, selectionFilter, toAddress, toQuery } from "../../app/static/js/gallery-filter.js";

const read = (query) => fromAddress(new URLSearchParams(query));
const NOW = Date.UTC(2026, 0, 31, 12);

test("a filter survives its address", () => {
  const filter = { ...DEFAULTS, show: "favorites", search: "red & blue", tag: "ships", days: "7", until: "2026-01-20", seed: "42", sort: "oldest", media: "video" };
  const [, query] = toAddress(filter).split("?");
  assert.deepEqual(read(query), filter);
  assert.equal(toAddress(DEFAULTS), "#/gallery");
});

test("what makes no sense in an address is left out", () => {
  const wrong = "show=mine&sort=best&media=audio&days=x&until=2026-13-45&seed=-1&tag=a,b&other=1";
  assert.deepEqual(read(wrong), DEFAULTS);
  assert.deepEqual(read(`seed=${2 ** 32}&search=${"x".repeat(501)}`), DEFAULTS);
});

test("the query of the API has only what was chosen", () => {
  assert.deepEqual(toQuery(DEFAULTS, NOW), {});
  assert.deepEqual(toQuery({ ...DEFAULTS, show: "bin", days: "1" }, NOW), { bin: 1, since: "2026-01-30T12:00:00.000Z" });
  const { until } = toQuery({ ...DEFAULTS, until: "2026-01-20" }, NOW);
  assert.equal(new Date(until).getTime(), new Date(2026, 0, 21).getTime()); // the day is whole, in the user's time zone
});

test("an action's filter means the same pictures, in the types of the API", () => {
  assert.deepEqual(selectionFilter({ ...DEFAULTS, show: "favorites", seed: "7", sort: "oldest" }, NOW), { favorite: true, seed: 7 });
  for (const show of ["progress", "failed", "cancelled"]) {
    assert.equal(hasPictures({ show }), false);
    assert.throws(() => selectionFilter({ ...DEFAULTS, show }), /no pictures/); // it would mean all of the gallery
  }
});

test("filters that only pictures can match", () => {
  assert.deepEqual([DEFAULTS, { ...DEFAULTS, tag: "x" }, { ...DEFAULTS, sort: "oldest" }, { ...DEFAULTS, show: "failed" }].map(isOfPictures), [false, true, true, false]);
  assert.deepEqual([DEFAULTS, { ...DEFAULTS, show: "bin" }, { ...DEFAULTS, seed: "1" }].map(isFiltered), [false, false, true]);
});
