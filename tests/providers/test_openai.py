"""A second provider on the same lane: any server with OpenAI's images API."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.core.job import JobStatus
from app.core.request import GenerationInput, GenerationSettings
from app.services.jobs import cancel
from app.services.jobs.submit import submit
from app.worker.loop import Worker
from tests.providers.openai_server import OpenAIServer, openai
from tests.worker.harness import Harness


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai() as running:
        yield running


@pytest.fixture
def harness(new_harness: Callable[..., Harness], server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setattr("app.engines.openai.BUSY_PAUSE_SECONDS", 0.02)
    line = "far;gpt-image-1;Far;openai;false"
    return new_harness(MODEL_FAR=line, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-none")


def test_pictures(harness: Harness, server: OpenAIServer, worker: Worker) -> None:
    wanted = GenerationSettings(width=1024, height=1024, num_images=2, num_inference_steps=30)
    asked = GenerationInput(prompt="a boat", model_id="far", settings=wanted)
    seen = harness.completed(submit(harness.context, asked, client_id="x").job_id)
    assert [output.mime_type for output in seen.outputs] == ["image/png"] * 2
    assert seen.job.warnings == ("far has no num_inference_steps; it was not used.",)
    ((path, headers, body),) = server.asked
    assert (path, headers["authorization"]) == ("/v1/images/generations", "Bearer sk-none")
    assert body == {"model": "gpt-image-1", "prompt": "a boat", "n": 2, "size": "1024x1024"}
    assert harness.context.predictions.of_job(seen.job.id).status == "succeeded"


def test_a_refusal_and_a_retry(harness: Harness, server: OpenAIServer, worker: Worker) -> None:
    server.answers = [(400, {"error": {"message": "Your request was rejected by the safety system.", "code": "x"}})]
    job_id = harness.submit("bad", model_id="far")
    job = harness.ended(job_id).job
    assert (job.status, job.error_code) == (JobStatus.FAILED, "provider_error")
    assert "rejected by the safety system" in (job.error_message or "")
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)


def test_a_server_that_stumbles_is_asked_again_under_the_same_key(
    harness: Harness, server: OpenAIServer, worker: Worker
) -> None:
    server.answers = [(429, {"error": {"message": "Rate limit reached"}}), (500, {})]
    harness.completed(harness.submit("a boat", model_id="far"))
    keys = [headers["idempotency-key"] for _, headers, _ in server.asked]
    assert (len(keys), len(set(keys))) == (3, 1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"data": []}, "without an image"),
        ({"data": [{"b64_json": "AAAA"}]}, "cannot be read"),
        ({"hello": "world"}, "no list of images"),
        ({"data": [{"url": "http://127.0.0.1:9/x.png"}]}, "neither https"),
    ],
)
def test_nonsense(harness: Harness, server: OpenAIServer, worker: Worker, answer: object, message: str) -> None:
    server.answers = [(200, answer)]
    job = harness.ended(harness.submit("x", model_id="far")).job
    assert (job.error_code, message in (job.error_message or "")) == ("provider_error", True), job.error_message
