// Reads generation settings from PNG text chunks: CyberImage's `cyberimage` manifest, or the `parameters` text of
// AUTOMATIC1111. Returns settings in the API's names, or null.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const LONGEST_TEXT = 4_000_000; // bytes of one chunk

export async function readRecipe(file) {
  const texts = await readTexts(new Uint8Array(await file.arrayBuffer()));
  if (texts.cyberimage) return fromManifest(JSON.parse(texts.cyberimage));
  return texts.parameters ? fromParameters(texts.parameters) : null;
}

/** {keyword: text} of all text chunks. */
export async function readTexts(bytes) {
  const texts = {};
  if (!SIGNATURE.every((value, index) => bytes[index] === value)) return texts;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (["tEXt", "iTXt", "zTXt"].includes(type) && length < LONGEST_TEXT) {
      const [keyword, text] = await decode(type, data);
      texts[keyword] = text;
    }
    at += 12 + length;
  }
  return texts;
}

async function decode(type, data) {
  const [keyword, rest] = cut(data);
  const latin = new TextDecoder("latin1");
  if (type === "tEXt") return [latin.decode(keyword), latin.decode(rest)];
  if (type === "zTXt") return [latin.decode(keyword), latin.decode(await inflate(rest.subarray(1)))];
  const [, afterLanguage] = cut(rest.subarray(2));
  const [, body] = cut(afterLanguage);
  return [latin.decode(keyword), new TextDecoder().decode(rest[0] ? await inflate(body) : body)];
}

function cut(data) {
  const end = data.indexOf(0);
  return [data.subarray(0, end), data.subarray(end + 1)];
}

async function inflate(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromManifest({ prompt, negative_prompt, model_id, settings, inputs, job_id }) {
  return typeof prompt === "string" ? { prompt, negative_prompt, model_id, settings: settings ?? {}, inputs, job_id } : null;
}

/** AUTOMATIC1111's format: prompt, `Negative prompt: …`, then `Key: value` pairs on the last line. */
function fromParameters(text) {
  const lines = text.split("\n");
  const last = lines.at(-1);
  if (!/\bSteps: \d+/.test(last)) return { prompt: text.trim(), settings: {} };
  const pairs = pairsIn(last);
  const [prompt, negative] = lines.slice(0, -1).join("\n").split(/^Negative prompt: /m);
  const [, width, height] = /^(\d+)x(\d+)$/.exec(pairs.Size ?? "") ?? [];
  const number = (value) => (Number.isFinite(Number.parseFloat(value)) ? Number.parseFloat(value) : null);
  return {
    prompt: prompt.trim(),
    negative_prompt: negative?.trim() || null,
    model_id: pairs.Model,
    settings: {
      num_inference_steps: number(pairs.Steps),
      guidance_scale: number(pairs["CFG scale"]),
      seed: number(pairs.Seed),
      ...schedulerIn(pairs),
      width: number(width),
      height: number(height),
      loras: lorasIn(pairs.LoRA ?? ""),
      ...secondPassIn(pairs, number),
    },
    inputs: unitsIn(pairs),
  };
}

/** {name: value} of `name: value, name: "a, b"`. */
function pairsIn(line) {
  const found = line.matchAll(/([\w ]+): ("(?:\\.|[^"\\])*"|[^,]*)(?:,\s*|$)/g);
  return Object.fromEntries([...found].map(([, name, value]) => [name.trim(), value.replace(/^"(.*)"$/, (_, text) => text.replace(/\\(.)/g, "$1"))]));
}

function lorasIn(text) {
  return [...text.matchAll(/([^,]+):([\d.]+)(?:,\s*|$)/g)].map(([, id, scale]) => ({ id: id.trim(), scale: Number(scale) }));
}

function secondPassIn(pairs, number) {
  const factor = number(pairs["Hires upscale"]);
  if (!factor) return {};
  const strength = number(pairs["Denoising strength"]);
  return { upscale: { factor, strength, steps: number(pairs["Hires steps"]), model: pairs["Hires upscaler"] } };
}

/** The units of the ControlNet extension, like a manifest's `inputs`. */
function unitsIn(pairs) {
  const units = Object.entries(pairs).filter(([name]) => /^ControlNet \d+$/.test(name));
  return Object.fromEntries(units.map(([name, text]) => [name, { model: pairsIn(text).Model, weight: pairsIn(text).Weight }]));
}

/** The sampler and its spacing, which older versions write into one name. */
function schedulerIn(pairs) {
  const [, scheduler, suffix] = /^(.*?)(?: (Karras|Exponential|Beta))?$/.exec(pairs.Sampler ?? "");
  const spacing = (pairs["Schedule type"] ?? suffix ?? "").toLowerCase();
  const sigmas = ["karras", "exponential", "beta"].includes(spacing) ? { sigmas: spacing } : {};
  return scheduler ? { scheduler, ...sigmas, ...(spacing === "sgm uniform" ? { timestep_spacing: "trailing" } : {}) } : {};
}
