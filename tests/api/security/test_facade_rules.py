"""What holds for the native interface holds for every route of every façade, and for every tool that draws.

The routes and tools are read from the application, so that a new one is walked too.
"""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from app import create_app
from app.api.mcp.tools import TOOLS
from app.api.routing import policies_of
from app.config.facades import FACADES
from app.core.job import JobStatus
from app.errors import ContentBlocked
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed
from tests.api.security.walk import code_of
from tests.waiting import wait_until


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (128, 128), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = picture()
CODES = {"rate_limit_exceeded": "rate_limited", "content_policy_violation": "content_blocked"}  # ours, by a façade's


@dataclass(frozen=True)
class Way:
    """A route or a tool that draws. `body` is its request without the prompt; `number` names the number of pictures, if
    there may be several, `picture` one to start from, which it may take in a list, perhaps as `data` of an object."""

    facade: str
    path: str
    number: str | None
    body: dict[str, Any] = field(default_factory=dict)
    picture: str | None = None
    tool: str | None = None
    takes_webhook: bool = True
    takes_prompt: bool = True

    @property
    def name(self) -> str:
        return self.tool or self.path

    def draw(self, client: FlaskClient, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        body = ({"prompt": "a fox"} if self.takes_prompt else {}) | self.body | more
        if self.tool is not None:
            if self.number == "settings" and isinstance(body.get("settings"), int):
                body["settings"] = {"num_images": body["settings"]}
            call = {"name": self.tool, "arguments": body}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        return client.post(self.path, json=body, headers=headers)

    def check_refused(self, answer: TestResponse, status: int, code: str) -> None:
        """What is wrong with a tool's call is a result."""
        found = code_of(answer)
        assert (answer.status_code, CODES.get(found, found)) == (200 if self.tool and status != 401 else status, code)


def _tool(name: str, number: str | None = "num_images", **more: Any) -> Way:
    return Way("mcp", "/mcp", number, tool=name, **{"takes_webhook": False, **more})


OPENAI = "/api/openai/v1/images"
WAYS = [
    Way("openai", f"{OPENAI}/generations", "n"),
    Way("openai", f"{OPENAI}/edits", "n", {"image": PICTURE}, "image"),
    Way("openai", f"{OPENAI}/variations", "n", {"image": PICTURE}, "image"),
    Way("a1111", "/sdapi/v1/txt2img", "batch_size"),
    Way("a1111", "/sdapi/v1/img2img", "n_iter", {"init_images": [PICTURE]}, "init_images"),
    Way("a1111", "/sdapi/v1/extra-single-image", None, {"image": PICTURE}, "image", takes_prompt=False),
    Way(
        *("a1111", "/sdapi/v1/extra-batch-images", "imageList", {"imageList": [{"data": PICTURE}]}, "imageList"),
        takes_prompt=False,
    ),
    _tool("generate_image"),
    _tool("edit_image", body={"image": PICTURE}, picture="image"),
    _tool("upscale_image", None, body={"image": PICTURE}, picture="image", takes_prompt=False),
    _tool("submit_generation", "settings", body={"image": PICTURE}, picture="image", takes_webhook=True),
]
MAKE_NO_JOB = {"a1111_controlnet.controlnet_detect"}  # they count as generating, and answer at once
# There is no model for videos here; they are submitted as images are. A batch is no job: tests/api/mcp/test_batches.py.
NOT_WALKED = {"make_video", "submit_batch"}


@pytest.fixture
def keyed(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys", sync_timeout_seconds=0.01, rate_limit_generate="3/minute"))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request) -> Way:
    return request.param


def test_everything_that_draws_is_walked_here(keyed):
    policies = policies_of(keyed.app)
    drawing = {
        rule.endpoint
        for rule in keyed.app.url_map.iter_rules()
        if (policy := policies[rule.endpoint]).facade in FACADES
        and (policy.budget == "generate" or callable(policy.budget))
    }
    walked = {keyed.app.url_map.bind("localhost").match(way.path, method="POST")[0] for way in WAYS}
    assert drawing - MAKE_NO_JOB == walked
    assert {policies[endpoint].facade for endpoint in drawing} == set(FACADES) == {way.facade for way in WAYS}
    tools = {name for name, tool in TOOLS.items() if tool.budget == "generate"}
    assert tools == {way.tool for way in WAYS if way.tool} | NOT_WALKED


def test_a_key_is_needed(keyed, way):
    answer = way.draw(keyed.nobody)
    way.check_refused(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not keyed.context.jobs.count_pending()


def test_the_job_is_the_callers(keyed, way):
    job_id = way.draw(keyed.alice).headers["X-Job-Id"]
    assert keyed.context.owners.of_job(job_id) == keyed.ids["alice"]
    assert keyed.bob.get(f"/api/status/{job_id}").status_code == 404
    assert keyed.alice.get(f"/api/status/{job_id}").status_code == 200


def test_a_picture_of_another_client_cannot_be_used(keyed, way):
    """By its id in the gallery."""
    if way.picture is None:
        pytest.skip("it takes no picture")
    job_id = keyed.bob.post("/api/generate", json={"prompt": "x"}).json["job_id"]
    [image] = Worker(keyed.context).finish()
    assert keyed.bob.get(f"/api/status/{job_id}").json["status"] == "COMPLETED"
    theirs = {"init_images": [image], "imageList": [{"data": image}]}
    answer = way.draw(keyed.alice, **{way.picture: theirs.get(way.picture, image)})
    way.check_refused(answer, 400, "invalid_image")


def test_pictures_count_against_the_limit(keyed, way):
    if way.number is None:
        pytest.skip("it makes one picture")
    two = {way.number: [{"data": PICTURE}] * 2 if way.number == "imageList" else 2}
    assert "X-Job-Id" in way.draw(keyed.alice, **two).headers
    answer = way.draw(keyed.alice, **two)
    way.check_refused(answer, 429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0
    assert "X-Job-Id" in way.draw(keyed.bob, **two).headers


def test_suspicious_prompts_are_refused(keyed, way):
    if not way.takes_prompt:
        pytest.skip("it takes no prompt")
    way.check_refused(way.draw(keyed.alice, prompt="{{config.items()}}"), 400, "suspicious_input")


def test_webhooks_are_kept(keyed, way):
    if not way.takes_webhook:
        pytest.skip("it takes no webhook_url")
    keyed.context.settings = keyed.context.settings.model_copy(update={"webhook_allow_private": True})
    job_id = way.draw(keyed.alice, webhook_url="http://127.0.0.1:9/hook").headers["X-Job-Id"]
    assert keyed.context.jobs.get(job_id).webhook_url == "http://127.0.0.1:9/hook"


def test_webhooks_to_private_addresses_are_refused(keyed, way):
    way.check_refused(way.draw(keyed.alice, webhook_url="http://127.0.0.1:9/hook"), 400, "invalid_request")


def test_a_full_queue_is_said(keyed, way):
    keyed.context.settings = keyed.context.settings.model_copy(update={"queue_max_pending": 0})
    answer = way.draw(keyed.alice)
    way.check_refused(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_server_that_stops_takes_no_new_job(keyed, way):
    keyed.app.extensions["cyberimage"].stopping.set()
    answer = way.draw(keyed.alice)
    way.check_refused(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_pages_of_other_sites_are_refused(settings_in, tmp_path, way):
    app = create_app(settings_in(tmp_path))
    with app.test_client() as client:
        client.environ_base |= {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
        answer = way.draw(client)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
        answer = way.draw(app.test_client(), headers={"Host": "rebound.example"})
        assert (answer.status_code, code_of(answer)) == (400, "untrusted_host")
    app.extensions["cyberimage"].close()


def test_the_same_idempotency_key_is_the_same_job(keyed, way):
    headers = {"Idempotency-Key": "one"}
    first, second = (way.draw(keyed.alice, headers).headers["X-Job-Id"] for _ in range(2))
    assert first == second
    assert way.draw(keyed.bob, headers).headers["X-Job-Id"] != first


def test_a_job_cancelled_elsewhere_is_said(keyed, way):
    headers = {"Idempotency-Key": "one"}
    job_id = way.draw(keyed.alice, headers).headers["X-Job-Id"]
    assert keyed.bob.post(f"/api/jobs/{job_id}/cancel").status_code == 404
    assert keyed.alice.post(f"/api/jobs/{job_id}/cancel").status_code == 200
    answer = way.draw(keyed.alice, headers)
    if way.tool == "submit_generation":  # it tells how the job is
        assert answer.json["result"]["structuredContent"]["status"] == JobStatus.CANCELLED
    else:
        way.check_refused(answer, 409, "job_cancelled")


def test_what_the_safety_filter_blocks_is_said(keyed, way):
    headers = {"Idempotency-Key": "one"}
    way.draw(keyed.alice, headers)
    claim = Worker(keyed.context).claim()
    keyed.context.claims.fail(claim, ContentBlocked("The safety filter blocked it."))
    answer = way.draw(keyed.alice, headers)
    if way.tool == "submit_generation":
        assert answer.json["result"]["structuredContent"]["error"]["code"] == "content_blocked"
    else:
        way.check_refused(answer, 400 if way.facade == "openai" else ContentBlocked.status, "content_blocked")


def test_clients_take_turns(keyed, way):
    """One that sends many does not hold up one that sends one."""
    for _ in range(3):
        way.draw(keyed.alice)
    own = way.draw(keyed.bob).headers["X-Job-Id"]
    worker = Worker(keyed.context)
    assert own in [worker.claim().job_id for _ in range(2)]


def test_metrics_and_log_name_the_facade(keyed, way, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.requests")
    way.draw(keyed.alice)
    assert f'facade="{way.facade}"' in keyed.root.get("/metrics").text
    assert any(getattr(record, "facade", None) == way.facade for record in caplog.records)


def test_the_prompt_stays_out_of_the_access_log(keyed, way, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.requests")
    way.draw(keyed.alice, **({"prompt": "my secret prompt"} if way.takes_prompt else {}))
    wait_until(lambda: caplog.records, "nothing was logged")
    assert "secret" not in caplog.text


@pytest.mark.parametrize("tool", ["get_generation", "cancel_generation"])
def test_a_job_of_another_client_is_none_for_tools(keyed, tool):
    job_id = keyed.bob.post("/api/generate", json={"prompt": "x"}).json["job_id"]
    call = {"name": tool, "arguments": {"job_id": job_id}}
    answer = keyed.alice.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    assert code_of(answer) == "job_not_found"
    assert keyed.context.jobs.get(job_id).status is JobStatus.PENDING


def test_tools_show_each_client_its_own_gallery(keyed):
    keyed.bob.post("/api/generate", json={"prompt": "x"})
    [image] = Worker(keyed.context).finish()

    def ask(client: FlaskClient, method: str, **params: Any) -> dict[str, Any]:
        return client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json

    for client, count in ((keyed.alice, 0), (keyed.bob, 1), (keyed.root, 1)):
        assert len(ask(client, "resources/list")["result"]["resources"]) == count
        found = ask(client, "tools/call", name="search_gallery", arguments={})["result"]["structuredContent"]
        assert len(found["images"]) == count
        assert ("result" in ask(client, "resources/read", uri=f"cyberimage://images/{image}")) == bool(count)


def test_looking_things_up_counts_as_reading(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, rate_limit_generate="1/minute", rate_limit_read="2/minute"))
    with app.test_client() as client:
        look = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_models"}}
        assert [code_of(client.post("/mcp", json=look)) for _ in range(3)] == [None, None, "rate_limited"]
        assert "X-Job-Id" in WAYS[7].draw(client, wait_seconds=0).headers
        assert code_of(WAYS[7].draw(client, wait_seconds=0)) == "rate_limited"
    app.extensions["cyberimage"].close()
