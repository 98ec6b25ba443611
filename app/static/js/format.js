// Formats numbers, durations, sizes and dates for display, in the page's language.

import { forms, locale, t } from "./strings.js";

const DAYS_FROM = 172_800; // seconds; below, hours are told

export const number = (value) => value.toLocaleString(locale);

/** With so many digits after the point. */
export const decimal = (value, digits = 1) => Number(value).toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });

export function seconds(value) {
  if (value < 0.95) return t`under a second`;
  if (value < 10) return t`${decimal(value)} s`;
  return longer(value);
}

/** Of an estimate: without fractions of a second. */
export const roughly = (value) => longer(Math.max(1, Math.round(value)));

function longer(value) {
  if (value < 90) return t`${Math.round(value)} s`;
  if (value < 5400) return t`${Math.round(value / 60)} min`;
  if (value < DAYS_FROM) return t`${Math.round(value / 3600)} h`;
  return t`${Math.round(value / 86400)} days`;
}

export function bytes(value) {
  if (!value) return "0 MB";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log(value) / Math.log(1000)), units.length - 1);
  const amount = value / 1000 ** power;
  return `${amount < 10 && power > 1 ? decimal(amount) : Math.round(amount)} ${units[power]}`;
}

export function ordinal(n) {
  const ending = { one: t`${n}st`, two: t`${n}nd`, few: t`${n}rd`, other: t`${n}th` };
  return ending[new Intl.PluralRules("en", { type: "ordinal" }).select(n)];
}

/** "3 pictures", by the catalogue's forms of the noun. */
export function plural(n, one, many = `${one}s`) {
  const [single, several] = forms(one, many);
  return `${number(n)} ${n === 1 ? single : several}`;
}

export function ago(iso) {
  const elapsed = (Date.now() - Date.parse(iso)) / 1000;
  if (elapsed < 5) return t`just now`;
  if (elapsed >= DAYS_FROM) return t`${Math.round(elapsed / 86400)} days ago`;
  return t`${seconds(elapsed)} ago`;
}

export function when(iso) {
  return new Date(iso).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}

const SHAPES = ["1:1", "5:4", "4:3", "3:2", "16:9", "2:1", "21:9"];

/** The common aspect ratio that a size has, as near as a model's sizes allow: "16:9" for 704 × 384; else null. */
export function shape(width, height) {
  const long = Math.max(width, height) / Math.min(width, height);
  const off = (name) => Math.abs(ratioOf(name) / long - 1);
  const best = SHAPES.reduce((one, other) => (off(other) < off(one) ? other : one));
  if (off(best) > 0.035) return null;
  return width >= height ? best : best.split(":").reverse().join(":");
}

const ratioOf = (name) => name.split(":").reduce((a, b) => a / b);
