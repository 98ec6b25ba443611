// `openai` for Node.
import OpenAI, { toFile } from "openai";
import { call, KEY, MODEL, picture, URL_, versionOf } from "./reporting.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY });
const drawing = { model: MODEL, prompt: "a red circle", size: "256x256" };
const name = "openai (Node)", version = versionOf("openai");
let drawn;

await call(name, version, "images.generate", async () => {
  drawn = (await client.images.generate(drawing)).data[0].b64_json;
  return picture(drawn);
});
await call(name, version, "images.generate, stream", async () => {
  let last;
  for await (const event of await client.images.generate({ ...drawing, stream: true, partial_images: 1 })) last = event;
  return `${last.type}, ${picture(last.b64_json)}`;
});
await call(name, version, "images.edit", async () => {
  const image = await toFile(Buffer.from(drawn, "base64"), "a.png", { type: "image/png" });
  return picture((await client.images.edit({ ...drawing, image })).data[0].b64_json);
});
await call(name, version, "a prompt that is refused", async () => {
  try {
    await client.images.generate({ ...drawing, prompt: "<script>alert(1)</script>" });
  } catch (error) {
    if (error instanceof OpenAI.BadRequestError) return `${error.constructor.name}: ${error.code}`;
    throw error;
  }
  throw new Error("it was not refused");
});
