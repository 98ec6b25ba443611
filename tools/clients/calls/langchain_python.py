"""LangChain's image generator, which is of langchain-community and speaks by the client of langchain-openai."""

from __future__ import annotations

import httpx
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from reporting import KEY, MODEL, URL, Report, picture

report = Report("LangChain (DallEAPIWrapper)", "langchain-community")


def draw() -> str:
    tool = DallEAPIWrapper(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, size="256x256")
    return picture(httpx.get(tool.run("a red circle")).content)


report.call("run", draw)
