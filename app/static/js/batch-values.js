// What is typed about a batch, as the API takes it: values of axes, seeds, and where errors of the answer belong. Pure.

import { number } from "./format.js";
import { t } from "./strings.js";

const MOST_VALUES = 1000; // of one range
const NUMBER = /^-?\d+(?:\.\d+)?$/;
const RANGE = /^(-?\d+(?:\.\d+)?)\s*(?:\.\.|–|(?<=\d)\s*-)\s*(-?\d+(?:\.\d+)?)(?:\s*(?:by\s+|\(\+)(\d+(?:\.\d+)?)\)?)?$/;
const CONSTANTS = new Map([["true", true], ["false", false], ["null", null]]);
const SIZE = /^(\d{1,5})(?:\s*[x×]\s*(\d{1,5}))?$/i;

/** Fields that an axis can change: name, label, kind of its values. A kind is a key of HINTS. */
export const FIELDS = [
  ["prompt_replace", t`Words of the prompt`, "words"],
  ["prompt", t`The whole prompt`, "lines"],
  ["negative_prompt", t`Leave out`, "lines"],
  ["settings.guidance_scale", t`Guidance`, "numbers"],
  ["settings.num_inference_steps", t`Steps`, "integers"],
  ["settings.scheduler", t`Sampler`, "words"],
  ["size", t`Size`, "sizes"],
  ["model_id", t`Model`, "words"],
  ["settings.loras", t`LoRAs`, "loras"],
  ["settings.strength", t`Change it by`, "numbers"],
  ["settings.clip_skip", t`Clip skip`, "integers"],
  ["settings.shift", t`Shift`, "numbers"],
];

export const HINTS = {
  words: t`Separated by commas, or one a line.`,
  lines: t`One a line.`,
  numbers: t`Such as 2, 3.5, 5 or 2..8 by 0.5.`,
  integers: t`Such as 10, 20, 40 or 10..50 by 10.`,
  sizes: t`Width first, such as 512x768, 768x512; 512 is a square.`,
  loras: t`A LoRA, or several with +; its strength after a colon: ink:0.8, ink + film, none.`,
  any: t`Numbers, true, false or words, separated by commas or one a line.`,
};

export const kindOf = (field) => FIELDS.find(([name]) => name === field)?.[2] ?? (/^settings\.loras\.\d+\.scale$/.test(field) ? "numbers" : "any");

/** {values, problem}: what was typed for a field of this kind; `problem` is a sentence, null when there is none. */
export function readValues(kind, text) {
  const parts = split(kind, text);
  if (!parts.length) return { values: [], problem: t`Give at least one value.` };
  try {
    const values = parts.flatMap((part) => READERS[kind](part));
    return { values, problem: null };
  } catch (error) {
    return { values: [], problem: error.message };
  }
}

const split = (kind, text) => text.split(kind === "lines" || text.trim().includes("\n") ? "\n" : ",").map((part) => part.trim()).filter(Boolean);

const READERS = {
  words: (part) => [part],
  lines: (part) => [part],
  numbers: range,
  integers: (part) => range(part).map(whole),
  sizes: (part) => [size(part)],
  loras: (part) => [loras(part)],
  any: (part) => [scalar(part)],
};

/** `2..8 by 0.5`, `2-8` and, as other programs write it, `2-8 (+0.5)`. */
function range(part) {
  if (NUMBER.test(part)) return [Number(part)];
  const [, from, to, by = "1"] = RANGE.exec(part) ?? [];
  if (from === undefined) throw new Error(t`“${part}” is no number, and no range such as 2..8 by 0.5.`);
  const [start, end, step] = [from, to, by].map(Number);
  const count = step > 0 ? Math.floor(Math.abs(end - start) / step + 1e-9) + 1 : Infinity;
  if (count > MOST_VALUES) throw new Error(t`“${part}” stands for more than ${number(MOST_VALUES)} values.`);
  const sign = end < start ? -1 : 1;
  return Array.from({ length: count }, (_, at) => Number((start + sign * at * step).toFixed(6)));
}

function whole(value) {
  if (!Number.isInteger(value)) throw new Error(t`${value} is no whole number.`);
  return value;
}

function size(part) {
  const [, width, height = width] = SIZE.exec(part) ?? [];
  if (!width) throw new Error(t`“${part}” is no size such as 512x768.`);
  return `${width}x${height}`;
}

function loras(part) {
  if (part.toLowerCase() === "none") return [];
  return part.split("+").map((one) => {
    const [, id, scale] = /^(.+?)(?::\s*(-?\d+(?:\.\d+)?))?$/.exec(one.trim()) ?? [];
    if (!id) throw new Error(t`“${part}” names no LoRA beside the +.`);
    return { id: id.trim(), scale: Number(scale ?? 1) };
  });
}

function scalar(part) {
  if (NUMBER.test(part)) return Number(part);
  return CONSTANTS.has(part) ? CONSTANTS.get(part) : part;
}

/** The seeds as they are typed, such as `7, 20..29`. */
export function readSeeds(text) {
  const { values, problem } = readValues("integers", text);
  const wrong = values.find((value) => value < 0 || value >= 2 ** 32);
  return wrong === undefined ? { values, problem } : { values: [], problem: t`${wrong} is no seed: those are from 0 to ${2 ** 32 - 1}.` };
}

/**
 * {body, problems}: the request of a batch. `request` is the form's, `batch` is {axes: [{field, search, text}], seeds:
 * "same" | "each" | "several" | "list", seedCount, seedList, mode, samples, draw, name}. `problems` are [{field, message}]
 * with the names of fields that the API would use.
 */
export function batchBody(request, batch) {
  const problems = [];
  const note = (field, message) => message && problems.push({ field, message });
  const axes = batch.axes.map(({ field, search, text }, at) => {
    const { values, problem } = readValues(kindOf(field), text);
    note(`axes.${at}.values`, problem);
    if (!field) note(`axes.${at}.field`, t`Say which field changes.`);
    if (field === "prompt_replace" && !search) note(`axes.${at}.search`, t`Say which words of the prompt are replaced.`);
    return { field, values, ...(field === "prompt_replace" ? { search } : {}) };
  });
  const body = { ...request, axes, mode: batch.mode };
  if (axes.some(({ field }) => field === "prompt")) delete body.prompt;
  else if (!body.prompt.trim()) note("prompt", t`Say what the pictures should show.`);
  if (batch.seeds === "each") body.seeds = "each";
  if (batch.seeds === "several") body.seeds = Number(batch.seedCount);
  if (batch.seeds === "list") {
    const { values, problem } = readSeeds(batch.seedList);
    note("seeds", problem);
    body.seeds = values;
  }
  if (batch.mode === "sampled") Object.assign(body, { samples: Number(batch.samples), sample_seed: Number(batch.draw) });
  if (batch.name) body.name = batch.name;
  return { body, problems };
}

/** [{at, part, message}]: errors by place. `at` is the number of an axis with the `part` field, search or values; null for
 * seeds, samples, prompt, and null with the part "other" for what has no place in the form. */
export function placed(errors, fields) {
  return errors.map(({ field, message }) => {
    const [, at, part] = /^axes\.(\d+)\.(field|search|values)/.exec(field) ?? [];
    if (at !== undefined && at < fields.length) return { at: Number(at), part, message: sentence(message) };
    if (["seeds", "samples", "sample_seed", "prompt", "name"].includes(field)) return { at: null, part: field, message: sentence(message) };
    const [, job, name] = /^jobs\.(\d+)\.?(.*)$/.exec(field) ?? [];
    const axis = fields.findIndex((one) => one === name || name?.startsWith(`${one}.`) || (one === "size" && /^settings\.(width|height)$/.test(name ?? "")));
    if (axis >= 0) return { at: axis, part: "values", message: t`Of picture ${Number(job) + 1}: ${message}` };
    if (job !== undefined) return { at: null, part: "other", message: t`Picture ${Number(job) + 1}: ${[name, message].filter(Boolean).join(" ")}` };
    return { at: null, part: "other", message: sentence(["body", "axes"].includes(field) ? t`The batch ${message}` : `${field} ${message}`.trim()) };
  });
}

const sentence = (message) => `${message[0].toUpperCase()}${message.slice(1)}${/[.!?)]$/.test(message) ? "" : "."}`;
