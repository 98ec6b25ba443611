// Vercel's AI SDK, with both of its providers that take another base URL.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";
import { call, KEY, MODEL, picture, URL_, versionOf } from "./reporting.mjs";

const openai = createOpenAI({ baseURL: `${URL_}/v1`, apiKey: KEY }).image(MODEL);
const compatible = createOpenAICompatible({ name: "here", baseURL: `${URL_}/v1`, apiKey: KEY }).imageModel(MODEL);

for (const [provider, model] of [["@ai-sdk/openai", openai], ["@ai-sdk/openai-compatible", compatible]]) {
  const name = `ai + ${provider}`, version = `${versionOf("ai")}, ${versionOf(provider)}`;
  let drawn;
  await call(name, version, "generateImage", async () => {
    const { images } = await generateImage({ model, prompt: "a red circle", size: "256x256", n: 2 });
    drawn = images[0];
    return `${images.length} times ${picture(drawn.base64)}`;
  });
  await call(name, version, "generateImage of a picture", async () => {
    const prompt = { text: "a blue square", images: [drawn.uint8Array] };
    return picture((await generateImage({ model, prompt })).image.base64);
  });
}
