"""The Model Context Protocol's SDK: over HTTP by both ways of beginning, and on stdio by `cyberimage mcp`."""

from __future__ import annotations

import os
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from reporting import KEY, URL, Report, picture


def over_http() -> Any:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=120)
    return streamable_http_client(f"{URL}/mcp", http_client=http)


def on_stdio() -> Any:
    command, *arguments = os.environ["CYBERIMAGE_COMMAND"].split()
    passed = {name: os.environ[name] for name in ("CYBERIMAGE_TOKEN", "PYTHONPATH", "PATH")}
    return stdio_client(StdioServerParameters(command=command, args=[*arguments, "mcp", "--server", URL], env=passed))


def draw(connect: Any, mode: str) -> str:
    async def use() -> str:
        async with Client(connect(), mode=mode) as client:
            tools = (await client.list_tools()).tools
            drawn = await client.call_tool("generate_image", {"prompt": "a red circle", "width": 256, "height": 256})
            assert not drawn.is_error, drawn.content
            return f"{client.protocol_version}, {len(tools)} tools, {picture(drawn.content[1].data)}"

    return anyio.run(use)


report = Report("mcp (Python)", "mcp")
for name, connect in (("HTTP", over_http), ("stdio", on_stdio)):
    for mode in ("auto", "legacy"):
        report.call(f"generate_image, {name}, {mode}", lambda c=connect, m=mode: draw(c, m))
