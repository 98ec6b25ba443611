"""`huggingface_hub.InferenceClient`."""

from __future__ import annotations

from huggingface_hub import InferenceClient
from reporting import KEY, MODEL, URL, Report, png

report = Report("huggingface_hub", "huggingface_hub")
client = InferenceClient(model=f"{URL}/v1/inference/{MODEL}", token=KEY)
report.call("text_to_image", lambda: client.text_to_image("a red circle", width=256, height=256).size)
report.call("image_to_image", lambda: client.image_to_image(png(), prompt="a blue square").size)
