"""LiteLLM."""

from __future__ import annotations

import litellm
from reporting import KEY, MODEL, URL, Report, picture, png

report = Report("LiteLLM", "litellm")
here = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": KEY}
report.call(
    "image_generation",
    lambda: picture(litellm.image_generation(prompt="a red circle", size="256x256", **here).data[0].b64_json),
)
report.call(
    "image_edit", lambda: picture(litellm.image_edit(image=png(), prompt="a blue square", **here).data[0].b64_json)
)
