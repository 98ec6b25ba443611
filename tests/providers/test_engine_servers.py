"""Models that SGLang-Diffusion, vLLM-Omni and others draw, against a server with their routes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from app import create_app
from app.core.backoff import Backoff
from app.core.catalog_lines import build_catalog
from app.core.job import JobStatus
from app.core.request import GenerationInput, GenerationSettings
from app.errors import ConfigurationError
from app.providers.calls import Busy, call
from app.services.jobs import cancel
from app.services.jobs.submit import submit
from app.worker.loop import Worker
from tests.providers import media
from tests.providers.engine_server import EngineServerFake, engine_server
from tests.worker.harness import Harness


@pytest.fixture
def server() -> Iterator[EngineServerFake]:
    with engine_server() as running:
        yield running


def line(server: EngineServerFake, kind: str = "sglang", **more: Any) -> str:
    options = {"server": {"kind": kind, "url": server.url}, "tasks": ["txt2img", "edit"], **more}
    return f"far;Qwen/Qwen-Image;Far;engine;false;{json.dumps(options)}"


@pytest.fixture
def harness(new_harness: Callable[..., Harness], server: EngineServerFake, monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setattr("app.engines.engine_servers.AWAY", Backoff(first=0.05, longest=0.1))
    return new_harness(
        MODEL_FAR=line(server),
        MODEL_PLAIN=line(server, "openai").replace("far;", "plain;"),
        ENGINE_SERVER_KEY="k-123",
        REMOTE_PRICE="5",
        SPEND_LIMIT_PREDICTIONS="1",
    )


def ask(harness: Harness, settings: GenerationSettings | None = None, **more: Any) -> str:
    wanted = GenerationInput(prompt="a boat", settings=settings or GenerationSettings(), **{"model_id": "far", **more})
    return submit(harness.context, wanted, client_id="x").job_id


def pixel(harness: Harness, path: str) -> tuple[int, ...]:
    with Image.open(harness.context.settings.images_dir / path) as picture:
        return tuple(picture.getpixel((0, 0)))


def test_each_picture_has_a_seed_of_its_own_and_the_server_is_asked_in_its_words(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    wanted = GenerationSettings(
        width=128, height=64, num_images=2, num_inference_steps=8, guidance_scale=3.5, true_cfg_scale=4.0, seed=7
    )
    seen = harness.completed(ask(harness, wanted, negative_prompt="fog"))
    told = {
        "model": "Qwen/Qwen-Image",
        "prompt": "a boat",
        "negative_prompt": "fog",
        "size": "128x64",
        "n": 1,
        "num_inference_steps": 8,
        "guidance_scale": 3.5,
        "true_cfg_scale": 4.0,
        "response_format": "b64_json",
        "path": "/v1/images/generations",
        "pictures": [],
    }
    assert server.asked == [told | {"seed": 7}, told | {"seed": 8}]
    assert server.headers[0]["Authorization"] == "Bearer k-123"
    assert [output.seed for output in seen.outputs] == [7, 8]
    assert [(output.width, output.height) for output in seen.outputs] == [(128, 64)] * 2
    assert pixel(harness, seen.outputs[0].path) != pixel(harness, seen.outputs[1].path)
    assert seen.job.warnings == ()


def test_what_was_not_chosen_is_left_to_the_model_there(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    seen = harness.completed(ask(harness))
    (asked,) = server.asked
    assert set(asked) == {"model", "prompt", "n", "response_format", "seed", "path", "pictures"}
    assert asked["seed"] == seen.outputs[0].seed


def test_the_status_says_what_was_sent_and_the_seed_gives_the_same_picture(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    seen = harness.completed(ask(harness, GenerationSettings(width=64, height=64, num_inference_steps=8, num_images=2)))
    status = create_app(harness.context.settings).test_client().get(f"/api/status/{seen.job.id}").json
    told = {"width": 64, "height": 64, "num_inference_steps": 8, "seed": seen.outputs[0].seed, "guidance_scale": None}
    assert told.items() <= status["settings"].items()
    assert status["remote"]["source"] == "engine"
    same = GenerationSettings(width=64, height=64, num_inference_steps=8, seed=seen.outputs[1].seed)
    (made,) = harness.completed(ask(harness, same)).outputs
    assert pixel(harness, made.path) == pixel(harness, seen.outputs[1].path)


def test_a_server_of_another_kind_gets_only_what_openai_has(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    wanted = GenerationSettings(width=64, height=64, num_inference_steps=8, seed=3)
    seen = harness.completed(ask(harness, wanted, model_id="plain", negative_prompt="fog"))
    (asked,) = server.asked
    assert set(asked) == {"model", "prompt", "n", "response_format", "size", "path", "pictures"}
    assert [output.seed for output in seen.outputs] == [None]
    assert {warning.split()[7] for warning in seen.job.warnings} == {
        "negative_prompt;",
        "num_inference_steps;",
        "seed;",
    }


def test_pictures_are_edited_by_the_route_for_it(harness: Harness, server: EngineServerFake, worker: Worker) -> None:
    picture = "data:image/png;base64," + base64.b64encode(media.picture(side=64)).decode()
    seen = harness.completed(ask(harness, GenerationSettings(seed=3), image=picture))
    (asked,) = server.asked
    assert (asked["path"], asked["seed"], seen.job.request.task) == ("/v1/images/edits", "3", "edit")
    with Image.open(io.BytesIO(asked["pictures"][0])) as sent:
        assert sent.size == (64, 64)


def test_a_refusal_fails_the_job_with_its_reason_and_a_retry_asks_again(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    server.answers = [(400, {"detail": "Invalid size format: '9x9'."}, {})]
    job = harness.ended(job_id := ask(harness)).job
    assert (job.status, job.error_code) == (JobStatus.FAILED, "provider_error")
    assert job.error_message == "The engine server of far answered 400: Invalid size format: '9x9'."
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": [{"b64_json": "AAAA"}]}, {"data": [{"b64_json": 5}]}, {"x": 1}]
)
def test_an_answer_that_has_no_picture_fails_the_job(
    harness: Harness, server: EngineServerFake, worker: Worker, body: dict[str, Any]
) -> None:
    server.answers = [(200, body, {})]
    assert harness.ended(ask(harness)).job.error_code == "provider_error"


def test_jobs_wait_while_their_server_is_away_and_none_of_their_attempts_counts(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    server.stop()
    job_id = ask(harness)
    for _ in range(harness.context.settings.max_attempts + 2):
        attempts = harness.view(job_id).job.attempt
        harness.until(job_id, lambda seen, before=attempts: seen.job.attempt > before)
    assert not harness.view(job_id).job.status.terminal
    server.start()
    harness.completed(job_id)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_or_loads_its_model_is_asked_again(
    harness: Harness, server: EngineServerFake, worker: Worker, status: int
) -> None:
    server.answers = [(status, {"detail": "Diffusion engine not initialized."}, {"Retry-After": "0.05"})] * 5
    harness.completed(ask(harness))
    assert len(server.asked) == 6


@pytest.mark.parametrize(("asked", "kept"), [("inf", None), ("nan", None), ("1e9", 600.0), ("-5", 0.0), ("7", 7.0)])
def test_no_answer_makes_a_job_wait_for_ever(asked: str, kept: float | None) -> None:
    with pytest.raises(Busy) as raised:
        call(
            httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": asked}))),
            "GET",
            "http://x/",
            provider="It",
        )
    assert raised.value.retry_after == kept


def test_a_cancel_does_not_wait_for_the_server(harness: Harness, server: EngineServerFake, worker: Worker) -> None:
    server.gate.clear()
    job_id = ask(harness)
    harness.until(job_id, lambda seen: bool(server.asked))
    cancel.cancel(harness.context, job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED


def test_it_costs_nothing_unless_its_line_has_a_price(
    harness: Harness, server: EngineServerFake, worker: Worker
) -> None:
    """SPEND_LIMIT_PREDICTIONS is 1."""
    for _ in range(3):
        harness.completed(ask(harness))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "and no other, has the option server"),
        ({"server": {"kind": "sglang", "url": "10.0.0.5:30000"}}, "must begin with http://"),
        ({"server": {"kind": "sglang", "url": "http://me:pw@x/v1"}}, "may have no password in it"),
        ({"server": {"kind": "sglang", "url": "http:///v1"}}, "must begin with http://"),
        ({"server": {"kind": "sglang", "url": "http://x/v1", "command": "  "}}, "is empty"),
        ({"server": {"kind": "comfy", "url": "http://x/v1"}}, "'sglang', 'vllm-omni' or 'openai'"),
        ({"server": {"kind": "sglang", "url": "http://x/v1"}, "tasks": ["inpaint"]}, "tasks may be edit, txt2img"),
        ({"server": {"kind": "sglang", "url": "http://x/v1"}, "media": "video"}, "makes images"),
        ({"server": {"kind": "sglang", "url": "http://x/v1"}, "compile": "full"}, "for models that draw here"),
    ],
)
def test_a_line_that_is_wrong_says_so_at_the_start(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_catalog({"MODEL_X": f"x;Qwen/Qwen-Image;X;engine;false;{json.dumps(options)}"}, "demo")
    assert message in raised.value.problems[0]


def test_a_server_is_for_lines_of_its_source(server: EngineServerFake) -> None:
    with pytest.raises(ConfigurationError, match="and no other"):
        build_catalog({"MODEL_X": line(server).replace(";engine;", ";huggingface;")}, "demo")
