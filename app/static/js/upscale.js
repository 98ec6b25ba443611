// Upscaling a picture: a job of its own.

import { toast } from "./notices.js";
import { send } from "./send.js";

export async function upscale({ image_id, prompt, model_id, width, height }, factor) {
  const job = { prompt, model_id, task: "upscale", settings: { width: width * factor, height: height * factor } };
  try {
    await send({ factor }, { to: `api/image/${image_id}/upscale`, job });
    location.hash = "#/";
  } catch (error) {
    toast(error.message, { kind: "error" });
  }
}
