import assert from "node:assert/strict";
import { test } from "node:test";
import { matching } from "../../app/static/js/palette-match.js";

const COMMANDS = [{ name: "Generate" }, { name: "Use these settings" }, { name: "Delete all" }, { name: "Clear filters" }, { name: "Gallery", words: "go to view" }, { name: "Größe: 1:1" }, { name: "Change the theme" }];
const found = (query) => matching(COMMANDS, query).map(({ name }) => name);

test("without words everything comes, in its order", () => {
  assert.deepEqual(found("  "), COMMANDS.map(({ name }) => name));
});

test("every word has to be found, at any place and in any order", () => {
  assert.deepEqual(found("settings use"), ["Use these settings"]);
  assert.deepEqual(found("use gallery"), []);
  assert.deepEqual(found("view"), ["Gallery"]);
});

test("the beginning of a word counts more than its middle, and that more than letters in between", () => {
  assert.deepEqual(found("t"), ["Use these settings", "Change the theme", "Generate", "Delete all", "Clear filters", "Gallery"]);
  assert.deepEqual(found("the"), ["Change the theme", "Use these settings"]);
  assert.deepEqual(found("glry"), ["Gallery"]);
  assert.deepEqual(found("uts"), ["Use these settings"]); // initials
});

test("case, accents and signs do not matter", () => {
  assert.deepEqual(found("GROSSE"), []);
  assert.deepEqual(found("große 1"), ["Größe: 1:1"]);
  assert.deepEqual(found("(gallery)"), ["Gallery"]);
  assert.deepEqual(found(".*"), COMMANDS.map(({ name }) => name)); // no word at all
});
