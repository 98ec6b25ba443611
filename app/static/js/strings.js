// The words of the page in its language. English stands in the modules, as t`…`; the file that data-strings names has the
// same sentences in another language, by the English ones: "Step {0} of {1}" for t`Step ${step} of ${total}`.

const PATIENCE_MILLISECONDS = 10_000; // everything waits for it
const { lang, dataset } = document.documentElement;
const strings = dataset.strings ? await fetch(dataset.strings, { signal: AbortSignal.timeout(PATIENCE_MILLISECONDS) }).then((answer) => (answer.ok ? answer.json() : {}), () => ({})) : {};

export const language = lang || "en";

/** For numbers and dates: as the reader's country writes the page's language. */
export const locale = navigator.languages?.find((one) => one.startsWith(language)) ?? language;

/** The sentence in the page's language; in English where there is no other. */
export const t = (parts, ...values) => fill(look(parts.reduce((key, part, at) => `${key}{${at - 1}}${part}`)), values);

/** Both forms of a noun, such as ["picture", "pictures"]. */
export const forms = (one, many) => look(`${one}|${many}`).split("|");

/** What the server says of an error, which is English; in another language what its code means, as far as that says it. */
export const told = (code, sentence) => fill(strings[`#${code}`] ?? "{0}", [sentence]);

const look = (key) => strings[key] ?? key;
const fill = (sentence, values) => sentence.replace(/\{(\d)\}/g, (all, at) => values[at] ?? all);
