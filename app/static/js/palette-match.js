// Which commands of the palette match what is typed, best first. Pure.

const WORD = /[\p{L}\p{N}]+/gu;
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/**
 * `commands` have a name, and optionally words that find them, too. Every word of `query` has to be found; the better it
 * begins a word of the name, the earlier the command comes. Without a query all come in their order.
 */
export function matching(commands, query) {
  const asked = plain(query).match(WORD) ?? [];
  const rated = commands.map((command, at) => ({ command, at, score: rate(command, asked) }));
  return rated.filter(({ score }) => score !== null).sort((a, b) => b.score - a.score || a.at - b.at).map(({ command }) => command);
}

/** Null when a word is not found. */
function rate({ name, words = "" }, asked) {
  const [own, more] = [plain(name).match(WORD) ?? [], plain(words).match(WORD) ?? []];
  let sum = 0;
  for (const word of asked) {
    const score = Math.max(rateWord(word, own), rateWord(word, more) / 2);
    if (!score) return null;
    sum += score;
  }
  return sum;
}

function rateWord(word, found) {
  if (found.includes(word)) return 8;
  if (found.some((one) => one.startsWith(word))) return 6;
  if (found.some((one) => one.includes(word))) return 4;
  if (word.length > 1 && found.map(([first]) => first).join("").includes(word)) return 3; // initials
  return word.length > 2 && found.some((one) => hasInOrder(word, one)) ? 1 : 0;
}

/** Letters in their order, with others between them: a typing slip that left some out. */
function hasInOrder(word, text) {
  if (word[0] !== text[0]) return false;
  let at = 0;
  for (const letter of text) if (letter === word[at]) at++;
  return at === word.length;
}
