"""Any message is answered in the protocol's shape, and what is accepted is drawn as it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import create_app
from app.api.mcp.tools import TOOLS
from tests.api.mcp.messages import JSON as HEADERS
from tests.api.mcp.messages import STATELESS, stateless

FIELDS = sorted({name for tool in TOOLS.values() for name in tool.arguments.model_fields} | {"steps", "n", "colour"})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
LIKELY = st.sampled_from(["demo", "512", 256, 0, -1, 7, 2**40, 1e308, "x" * 600, "0" * 32, [], {}, ["demo"], "image"])
METHODS = [
    *("initialize", "server/discover", "ping", "tools/list", "tools/call", "resources/list", "resources/read"),
    *("resources/templates/list", "prompts/list", "logging/setLevel", "notifications/initialized"),
]
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*TOOLS, "paint"]) | JSON,
        "arguments": st.dictionaries(st.sampled_from(FIELDS), JSON | LIKELY, max_size=6) | JSON,
        "uri": st.sampled_from(["cyberimage://images/" + "0" * 32, "file:///etc/passwd"]) | JSON,
        "cursor": JSON,
        "protocolVersion": st.sampled_from(["2025-06-18", "2026-07-28"]) | JSON,
        "capabilities": st.just({}) | JSON,
        "clientInfo": st.just({"name": "x", "version": "1"}) | JSON,
        "_meta": st.dictionaries(
            st.sampled_from(["progressToken", "io.modelcontextprotocol/protocolVersion"]), JSON | st.just(STATELESS)
        ),
    },
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | st.text(max_size=5) | JSON,
        "method": st.sampled_from(METHODS) | st.text(max_size=10),
        "params": PARAMS | JSON,
    },
)


@pytest.fixture(scope="module")
def app(settings_in, tmp_path_factory):
    """Nothing waits, so that each example takes milliseconds."""
    app = create_app(settings_in(tmp_path_factory.mktemp("mcp"), sync_timeout_seconds=0.01, queue_max_pending=100_000))
    yield app
    app.extensions["cyberimage"].close()


def check(app, answer) -> dict[str, Any]:
    """The answer is a message; what it accepted is a job that waits."""
    if answer.status_code == 202:
        assert answer.data == b""
        return {}
    assert answer.status_code in (200, 400, 404), answer.text
    assert set(answer.json) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
    assert "error" not in answer.json or answer.json["error"]["code"] != -32603, answer.json
    return answer.json


@given(message=MESSAGES, version=st.sampled_from([None, "2025-06-18", STATELESS, "x"]))
def test_any_message_is_answered_in_its_shape(app, message, version):
    """Never a 500."""
    headers = HEADERS | ({} if version is None else {"MCP-Protocol-Version": version})
    check(app, app.test_client().post("/mcp", json=message, headers=headers))


@given(
    tool=st.sampled_from(sorted(TOOLS)),
    arguments=st.dictionaries(st.sampled_from(FIELDS), JSON | LIKELY, max_size=5),
    prompt=st.just({}) | st.just({"prompt": "x"}),
)
@settings(max_examples=200)
def test_any_arguments_are_drawn_or_refused(app, tool, arguments, prompt):
    context = app.extensions["cyberimage"].context
    before = context.jobs.count_pending()
    body, headers = stateless("tools/call", {"name": tool, "arguments": prompt | arguments})
    answer = app.test_client().post("/mcp", json=body, headers=HEADERS | headers)
    found = check(app, answer)
    accepted = "result" in found and not found["result"].get("isError") and TOOLS[tool].budget == "generate"
    assert ("X-Job-Id" in answer.headers) == accepted
    assert context.jobs.count_pending() == before + accepted


SIDES = st.integers(4, 64).map(lambda units: 16 * units)


@given(
    prompt=st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=100).filter(str.strip),
    size=st.none() | st.tuples(SIDES, SIDES),
    seed=st.none() | st.integers(0, 2**32 - 1),
    count=st.integers(1, 4),
    steps=st.none() | st.integers(1, 50),
    as_text=st.booleans(),
)
@settings(max_examples=50)
def test_what_is_accepted_is_drawn_as_it_says(app, prompt, size, seed, count, steps, as_text):
    context = app.extensions["cyberimage"].context
    said = {"num_images": count, "seed": seed, "num_inference_steps": steps}
    said |= {} if size is None else {"width": size[0], "height": size[1]}
    said = {name: value for name, value in said.items() if value is not None}
    sent = {name: str(value) if as_text else value for name, value in said.items()} | {"prompt": prompt}
    body, headers = stateless("tools/call", {"name": "generate_image", "arguments": sent | {"wait_seconds": 0}})
    result = app.test_client().post("/mcp", json=body, headers=HEADERS | headers).json["result"]
    if result.get("isError"):  # it is said why
        assert result["_meta"]["cyberimage/error"]["code"] in ("invalid_request", "suspicious_input")
        return
    job = context.jobs.get(result["structuredContent"]["job_id"])
    assert job.request.prompt == prompt.strip()
    assert {name: getattr(job.request, name) for name in said} == said
