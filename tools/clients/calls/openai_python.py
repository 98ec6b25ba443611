"""`openai` for Python."""

from __future__ import annotations

import openai
from reporting import KEY, MODEL, URL, Report, picture, png, refused

report = Report("openai (Python)", "openai")
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)
drawing = {"model": MODEL, "prompt": "a red circle", "size": "256x256"}


def stream() -> str:
    events = list(client.images.generate(**drawing, stream=True, partial_images=1))
    return f"{events[-1].type}, {picture(events[-1].b64_json)}"


report.call("models.list", lambda: f"{len(list(client.models.list()))} models")
report.call("images.generate", lambda: picture(client.images.generate(**drawing).data[0].b64_json))
report.call("images.generate, stream", stream)
report.call(
    "images.edit", lambda: picture(client.images.edit(**drawing, image=("a.png", png(), "image/png")).data[0].b64_json)
)
report.call(
    "images.create_variation",
    lambda: picture(client.images.create_variation(image=("a.png", png(), "image/png"), model=MODEL).data[0].b64_json),
)
report.call(
    "an unknown model", lambda: refused(lambda: client.images.generate(prompt="x", model="none"), openai.NotFoundError)
)
