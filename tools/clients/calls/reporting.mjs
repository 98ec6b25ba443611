// What a client's calls gave, as lines of JSON for `make clients`.
import { readFileSync } from "node:fs";

export const URL_ = process.env.CYBERIMAGE_URL;
export const KEY = process.env.CYBERIMAGE_TOKEN;
export const MODEL = "demo";

export function versionOf(name) {
  return JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
}

export async function call(client, version, name, work) {
  let result, good = true;
  try {
    result = String(await work());
  } catch (error) {
    [result, good] = [`${error.name}: ${error.message}`.slice(0, 300), false];
  }
  console.log(JSON.stringify({ client, version, call: name, result, good }));
}

/** What a picture is, in words. Throws for what is none. */
export function picture(data) {
  const bytes = Buffer.from(data, "base64");
  if (bytes.subarray(1, 4).toString() !== "PNG") throw new Error(`no PNG: ${bytes.subarray(0, 8).toString("hex")}`);
  return `PNG ${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`;
}
