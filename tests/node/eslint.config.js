import js from "@eslint/js";
import globals from "globals";

// A member that is taken out of an object by name (`const { mask: _, ...rest }`) is used by not being in the rest.
const unused = { ignoreRestSiblings: true };

export default [
  js.configs.recommended,
  {
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { "no-unused-vars": ["error", unused] },
  },
];
