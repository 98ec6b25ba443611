// The catalogue of sentences: complete, used, with the same places; and nothing that is shown stands outside of it.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { catalogue, strayText, usedKeys } from "./catalogue.mjs";
import "./document.mjs";

const LANGUAGES = readdirSync(new URL("../../app/static/strings/", import.meta.url)).map((name) => name.replace(".json", ""));
const places = (text) => [...new Set(text.match(/\{\d\}/g))].sort();
const sentences = (language) => Object.entries(catalogue(language)).filter(([key]) => !key.startsWith("#"));

test("no text for users stands outside of the catalogue", () => {
  assert.deepEqual(strayText(), []);
});

for (const language of LANGUAGES) {
  test(`${language} has every sentence, and none that nothing asks for`, () => {
    const [used, there] = [usedKeys(), new Set(sentences(language).map(([key]) => key))];
    assert.ok(used.size > 500);
    assert.deepEqual([...used].filter((key) => !there.has(key)), [], "missing");
    assert.deepEqual([...there].filter((key) => !used.has(key)), [], "asked for by nothing");
  });

  test(`${language} says everything that is put into a sentence, and begins and ends it alike`, () => {
    for (const [key, text] of sentences(language)) {
      assert.deepEqual(places(text), places(key), key);
      assert.equal(text.split("|").length, key.split("|").length, key);
      assert.equal(/\s$/.test(text), /\s$/.test(key), `the space after “${key}”`);
      assert.equal(/^[\s,]/.test(text), /^[\s,]/.test(key), `the space before “${key}”`);
      assert.ok(text.trim(), key);
    }
  });
}

test("a sentence is said in the language of the page, English where it has none", async () => {
  const root = document.documentElement;
  [root.lang, root.dataset.strings] = ["de", "/static/strings/de.json"];
  globalThis.fetch = async () => new Response(JSON.stringify({ "Step {0} of {1}": "von {1} Schritt {0}", "picture|pictures": "Bild|Bilder", "#queue_full": "Voll.", "#conflict": "Geht nicht: {0}" }));
  const { forms, language, t, told } = await import("../../app/static/js/strings.js?german");
  assert.equal(language, "de");
  assert.equal(t`Step ${3} of ${"{0}"}`, "von {0} Schritt 3"); // what is put in is not read again
  assert.equal(t`Not known ${1}`, "Not known 1");
  assert.deepEqual(forms("picture", "pictures"), ["Bild", "Bilder"]);
  assert.deepEqual([told("queue_full", "It is full."), told("conflict", "It is paused."), told("new_code", "Else.")], ["Voll.", "Geht nicht: It is paused.", "Else."]);
});

test("the page stays English when the sentences do not come", async () => {
  for (const answer of [async () => new Response("gone", { status: 404 }), async () => Promise.reject(new TypeError("offline"))]) {
    globalThis.fetch = answer;
    const { t } = await import(`../../app/static/js/strings.js?${Math.random()}`);
    assert.equal(t`Cancel`, "Cancel");
  }
});
