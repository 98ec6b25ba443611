// The choice of a language. A cookie keeps it, because the server writes the page.

import { pathTo } from "./base.js";

export const LANGUAGES = { en: "English", de: "Deutsch" };
const YEAR_SECONDS = 31_536_000;

/** In `code` from now on, or as the browser asks when it is empty. What is in the form is kept. */
export function chooseLanguage(code) {
  document.cookie = `language=${code}; path=${pathTo("./")}; max-age=${code ? YEAR_SECONDS : 0}; samesite=lax`;
  location.reload();
}

/** The language that was chosen; empty when none was. */
export const chosenLanguage = () => /(?:^|;\s*)language=(\w+)/.exec(document.cookie)?.[1] ?? "";
