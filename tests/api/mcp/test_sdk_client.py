"""The protocol's own SDK, unmodified, against a served application, in both ways of beginning."""

from __future__ import annotations

import anyio
import httpx
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from app.errors import OutOfMemory
from tests.client.served import engine, harness, idle_url, new_harness, url
from tests.worker.fake_engine import FakeEngine, fails

__all__ = ["engine", "harness", "idle_url", "new_harness", "url"]
DRAW = {"prompt": "a boat", "model_id": "fake", "seed": 4}


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_tools_and_resources(url: str, engine: FakeEngine, mode: str, version: str) -> None:
    engine.behaviours["a wreck"] = fails(OutOfMemory("Not enough memory; choose a smaller size."))
    told: list[float] = []

    async def note(progress: float, total: float | None, words: str | None) -> None:
        told.append(progress)

    async def use() -> None:
        async with Client(f"{url}/mcp", mode=mode) as client:
            assert client.protocol_version == version
            assert len((await client.list_tools()).tools) == 11  # the client then validates what they answer
            drawn = await client.call_tool("generate_image", DRAW, progress_callback=note)
            assert not drawn.is_error
            assert [one.type for one in drawn.content] == ["text", "image", "resource_link"]
            assert httpx.get(drawn.content[2].uri).content.startswith(b"\x89PNG")
            failed = await client.call_tool("generate_image", DRAW | {"prompt": "a wreck"})
            assert failed.is_error
            assert failed.content[0].text == "Not enough memory; choose a smaller size. (code: out_of_memory)"
            found = await client.call_tool("search_gallery", {"search": "boat"})
            assert found.structured_content["images"][0]["job_id"] == drawn.structured_content["job_id"]
            [resource] = (await client.list_resources()).resources
            assert len((await client.read_resource(resource.uri)).contents) == 2
            with pytest.raises(MCPError, match="no method"):
                await client.list_prompts()

    anyio.run(use)
    assert told == sorted(told)
    assert told[-1] == 100


def test_a_client_that_knows_the_handshake_alone(url: str) -> None:
    """The version of 2025-06-18, as older hosts send it."""
    from mcp import ClientSession

    async def use() -> None:
        async with streamable_http_client(f"{url}/mcp") as (reader, writer), ClientSession(reader, writer) as session:
            assert (await session.initialize()).server_info.name == "cyberimage"
            drawn = await session.call_tool("generate_image", DRAW)
            assert drawn.structured_content["status"] == "COMPLETED"

    anyio.run(use)
