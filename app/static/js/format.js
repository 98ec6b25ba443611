// Formats numbers, durations, sizes and dates for display.

export function seconds(value) {
  if (value < 0.95) return "under a second";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function bytes(value) {
  if (!value) return "0 MB";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log(value) / Math.log(1000)), units.length - 1);
  const amount = value / 1000 ** power;
  return `${amount < 10 && power > 1 ? amount.toFixed(1) : Math.round(amount)} ${units[power]}`;
}

export function ordinal(n) {
  const ending = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${n}${ending[new Intl.PluralRules("en", { type: "ordinal" }).select(n)]}`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function ago(iso) {
  const elapsed = (Date.now() - Date.parse(iso)) / 1000;
  if (elapsed < 5) return "just now";
  return `${seconds(elapsed)} ago`;
}

export function when(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
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
