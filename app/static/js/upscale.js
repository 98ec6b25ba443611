// Upscaling a picture: a job of its own.

import { toast } from "./notices.js";
import { send } from "./send.js";

const FACTOR = 2;

export async function upscale({ image_id, prompt, model_id, width, height }) {
  const job = { prompt, model_id, task: "upscale", settings: { width: width * FACTOR, height: height * FACTOR } };
  try {
    await send({ factor: FACTOR }, { to: `api/image/${image_id}/upscale`, job });
    location.hash = "#/";
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}
