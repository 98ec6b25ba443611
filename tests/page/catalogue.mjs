// The sentences of the page: those that its modules and templates ask the catalogue for, and text that a user would see and
// that does not go through it.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "acorn";

const ROOT = join(import.meta.dirname, "..", "..", "app");
const SCRIPTS = join(ROOT, "static", "js");

export const catalogue = (language) => JSON.parse(readFileSync(join(ROOT, "static", "strings", `${language}.json`), "utf8"));

const scripts = () => readdirSync(SCRIPTS, { recursive: true }).filter((name) => name.endsWith(".js"));
const templates = () => readdirSync(join(ROOT, "templates")).filter((name) => name !== "docs.html");
const read = (...path) => readFileSync(join(ROOT, ...path), "utf8");

/** Every node of a module with its ancestors, nearest last. */
function* walk(node, above = []) {
  yield [node, above];
  for (const child of Object.values(node).flat()) if (typeof child?.type === "string") yield* walk(child, [...above, node]);
}

const nodesOf = (text) => walk(parse(text, { ecmaVersion: "latest", sourceType: "module" }));
const nameOf = ({ callee }) => callee?.name ?? callee?.property?.name;
const keyOf = ({ quasis }) => quasis.map(({ value }, at) => (at ? `{${at - 1}}` : "") + value.cooked).join("");

/** All keys, as a Set: "Step {0} of {1}", and "picture|pictures" for nouns. */
export function usedKeys() {
  const found = new Set();
  for (const file of scripts())
    for (const [node] of nodesOf(read("static", "js", file))) {
      if (node.type === "TaggedTemplateExpression" && node.tag.name === "t") found.add(keyOf(node.quasi));
      if (node.type !== "CallExpression" || nameOf(node) !== "plural" || node.arguments[1]?.type !== "Literal") continue;
      const [one, many] = node.arguments.slice(1).map(({ value }) => value);
      found.add(`${one}|${many ?? `${one}s`}`);
    }
  for (const file of templates()) for (const [, key] of read("templates", file).matchAll(/\bt\("([^"]+)"/g)) found.add(key);
  return found;
}

// Where text is for the program: selectors, classes, paths, keys of the keyboard.
const CALLS = new Set(["$", "$$", "querySelector", "querySelectorAll", "closest", "matches", "matchMedia", "addEventListener", "getContext", "pathTo", "get", "post", "call", "plural"]);
const NAMES = new Set(["class", "aria-describedby", "aria-controls", "behavior", "Accept", "Content-Type", "viewBox", "type", "method"]);
const OWN = /^(CyberImage|Enter|Escape|Delete|Tab|Arrow\w+|Files|English|Deutsch|CPU|GPU|\d+ per minute; \d+ per day)$|^[#.]|^(main|dialog|empty|day|translate|:)\b|\.\w+\[|go to view/;
const ELSEWHERE = new Set(["png.js", "theme.js", "palette-match.js", "viewport.js", "canvas/mask.js"]); // they show nothing

const looksLikeWords = (text) => /^[“"]?[A-Z][a-z]/.test(text) || /(?:^|[^a-z-]) ?\b[a-z]{2,} [a-z“{]/.test(text) || /[a-z“{}] [a-z]{2,}/.test(text);

function isForTheProgram(node, above) {
  const parent = above.at(-1);
  if (/Import|Export|Tagged/.test(parent.type) || ["===", "!==", "in"].includes(parent.operator)) return true;
  for (const one of [...above].reverse()) {
    if (one.type === "Property") return one.key === node || NAMES.has(one.key.name ?? one.key.value);
    if (one.type === "CallExpression" || one.type === "NewExpression") return CALLS.has(nameOf(one)) && one.callee !== node;
    if (/Function/.test(one.type)) return false;
  }
  return false;
}

/** Text for users outside of the catalogue, as "file:line text". */
export function strayText() {
  const found = [];
  for (const file of scripts().filter((name) => !ELSEWHERE.has(name))) {
    const text = read("static", "js", file);
    for (const [node, above] of nodesOf(text)) {
      const said = node.type === "Literal" ? node.value : node.type === "TemplateLiteral" ? keyOf(node) : null;
      if (typeof said !== "string" || !looksLikeWords(said) || OWN.test(said) || isForTheProgram(node, above)) continue;
      found.push(`${file}:${text.slice(0, node.start).split("\n").length} ${said}`);
    }
  }
  return [...found, ...strayMarkup()];
}

/** In templates: text between tags, and attributes that are read out or shown. */
function strayMarkup() {
  const found = [];
  for (const file of templates()) {
    const text = read("templates", file).replace(/\{\{.*?\}\}|\{%.*?%\}/gs, "");
    const shown = [...text.matchAll(/>([^<>]*[A-Za-z]{2}[^<>]*)</g), ...text.matchAll(/\b(?:aria-label|title|placeholder|alt|content)="([^"]*[A-Za-z]{2}[^"]*)"/g)];
    for (const [, words] of shown) if (!/^\s*(Cyber|Image|CyberImage|Ctrl ↵|[A-Z][a-z]+ · CyberImage|width=device-width.*|#[0-9a-f]{6}|English|Deutsch|fps)\s*$/.test(words)) found.push(`${file} ${words.trim()}`);
  }
  return found;
}
