"""`webuiapi`, of AUTOMATIC1111's interface."""

from __future__ import annotations

from urllib.parse import urlsplit

import webuiapi
from PIL import Image
from reporting import KEY, URL, Report

report = Report("webuiapi", "webuiapi")
where = urlsplit(URL)
api = webuiapi.WebUIApi(host=where.hostname, port=where.port, steps=4)
api.set_auth("any", KEY)
report.call("util_get_model_names", lambda: f"{len(api.util_get_model_names())} models")
report.call("txt2img", lambda: api.txt2img(prompt="a red circle", width=256, height=256).image.size)
source = Image.new("RGB", (256, 256), "green")
report.call("img2img", lambda: api.img2img(images=[source], prompt="a blue square", width=256, height=256).image.size)
report.call("get_progress", lambda: f"progress {api.get_progress()['progress']}")
