"""The Python client against a server on a real socket, and against one that is busy, away or wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

import cyberimage
from app.errors import ModelUnavailable
from cyberimage import client as client_module
from tests.waiting import PATIENCE
from tests.worker.fake_engine import FakeEngine, fails

Answer = Callable[[httpx.Request], httpx.Response]


def prompt_of(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as opened:
        return json.loads(opened.text["cyberimage"])["prompt"]  # type: ignore[attr-defined]


def test_a_prompt_becomes_an_image(url: str) -> None:
    with cyberimage.Client(url) as client:
        job = client.generate_image("a boat", "fake", settings={"seed": 4, "num_images": 2})
        assert (job.status, job.images, job.ended) == ("PENDING", (), False)
        done = client.wait(job, timeout=PATIENCE)
        assert [image.seed for image in done.images] == [4, 5]
        assert prompt_of(client.get_image(done.images[0])) == "a boat"
        assert client.get_image(done.images[1].id) == client.get_image(done.images[1])
        assert client.get_job_status(done.id) == done


def test_coroutines_do_the_same(url: str) -> None:
    async def draw(client: cyberimage.AsyncClient, prompt: str) -> tuple[str, list[str]]:
        job = await client.generate_image(prompt, "fake")
        statuses = [event.data["status"] async for event in client.stream(job) if event.name == "status"]
        done = await client.wait(job.id, timeout=PATIENCE)
        return prompt_of(await client.get_image(done.images[0])), statuses

    async def draw_three() -> list[tuple[str, list[str]]]:
        async with cyberimage.AsyncClient(url) as client:
            return await asyncio.gather(*(draw(client, f"boat {number}") for number in range(3)))

    found = asyncio.run(draw_three())
    assert [prompt for prompt, _ in found] == ["boat 0", "boat 1", "boat 2"]
    assert {statuses[-1] for _, statuses in found} == {"COMPLETED"}


def test_the_functions_take_the_server_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYBERIMAGE_URL", url)
    job = cyberimage.generate_image("a boat", "fake")
    with cyberimage.Client(url) as client:
        client.wait(job, timeout=PATIENCE)
    done = cyberimage.get_job_status(job.id)
    assert done.status == "COMPLETED"
    assert prompt_of(cyberimage.get_image(done.images[0].id)) == "a boat"


def test_a_picture_to_start_from_is_bytes_or_a_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(file)
    with cyberimage.Client(url) as client:
        for image in (file, file.read_bytes()):
            job = client.generate_image("a boat", "fake", image=image, settings={"strength": 0.5})
            assert client.wait(job, timeout=PATIENCE).raw["inputs"]["image"]["width"] == 64


def test_a_stream_shows_the_job_to_its_end(url: str) -> None:
    with cyberimage.Client(url) as client:
        events = list(client.stream(client.generate_image("a boat", "fake")))
    assert {event.name for event in events} <= {"status", "progress", "preview"}
    assert events[-1].data["status"] == "COMPLETED"


def test_a_job_that_fails_raises_its_error(url: str, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(ModelUnavailable("The weights are damaged."))
    with cyberimage.Client(url) as client, pytest.raises(cyberimage.JobFailed, match="weights are damaged") as raised:
        client.wait(client.generate_image("a boat", "fake"), timeout=PATIENCE)
    assert raised.value.code == "model_unavailable"


def test_a_job_can_be_cancelled_and_waiting_can_end(idle_url: str) -> None:
    with cyberimage.Client(idle_url) as client:
        job = client.generate_image("a boat", "fake")
        with pytest.raises(TimeoutError, match="It goes on"):
            client.wait(job, timeout=0)
        assert client.cancel(job).status == "CANCELLED"
        with pytest.raises(cyberimage.JobFailed) as raised:
            client.wait(job)
        assert raised.value.code == "cancelled"
        with pytest.raises(cyberimage.Refused, match="job_not_found"):
            client.cancel("0" * 32)


def test_a_refusal_has_the_code_and_the_fields(idle_url: str) -> None:
    with cyberimage.Client(idle_url) as client, pytest.raises(cyberimage.Refused) as raised:
        client.generate_image("a boat", "fake", settings={"num_inference_steps": 9999, "width": 7})
    error = raised.value
    assert (error.status, error.code) == (400, "invalid_request")
    assert {one["field"] for one in error.errors} >= {"settings.num_inference_steps", "settings.width"}
    assert error.request_id


def busy(*answers: httpx.Response | Exception) -> tuple[list[httpx.Request], Answer]:
    """A server that gives these answers in turn, and the requests that it gets."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        found = answers[len(requests) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    return requests, answer


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", slept.append)
    return slept


def asking(answer: Answer, **options: int) -> cyberimage.Client:
    return cyberimage.Client("http://server", transport=httpx.MockTransport(answer), **options)


ACCEPTED = {"job_id": "1", "status": "PENDING", "warnings": []}


def test_a_submission_is_repeated_under_one_key(pauses: list[float]) -> None:
    cut, unavailable = httpx.ReadError("cut"), httpx.Response(503, headers={"Retry-After": "7"})
    requests, answer = busy(cut, unavailable, httpx.Response(429), httpx.Response(202, json=ACCEPTED))
    assert asking(answer).generate_image("a boat").id == "1"
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    assert 0 < pauses[0] <= 0.5
    assert pauses[1] == 7
    assert 1.5 <= pauses[2] <= 2


def test_attempts_are_limited(pauses: list[float]) -> None:
    requests, answer = busy(*(httpx.ConnectError("refused") for _ in range(9)))
    with pytest.raises(cyberimage.Unreachable, match="No answer from http://server: refused"):
        asking(answer, retries=2).get_job_status("1")
    assert len(requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"detail": "Wrong.", "code": "invalid_request"}),
        httpx.Response(500),
        httpx.Response(429, headers={"Retry-After": "3600"}),
    ],
)
def test_what_will_not_succeed_soon_is_not_repeated(answer: httpx.Response, pauses: list[float]) -> None:
    requests, server = busy(answer)
    with pytest.raises(cyberimage.Refused):
        asking(server).get_job_status("1")
    assert (len(requests), pauses) == (1, [])


def test_a_stream_that_breaks_goes_on(pauses: list[float]) -> None:
    def event(status: str) -> httpx.Response:
        data = json.dumps({"job_id": "1", "status": status})
        return httpx.Response(200, text=f": hello\n\nretry: 1000\n\nevent: status\nid: 4\ndata: {data}\n\n")

    running = httpx.Response(200, json=ACCEPTED | {"status": "PROCESSING"})
    done = httpx.Response(200, json=ACCEPTED | {"status": "COMPLETED"})
    _, answer = busy(event("PENDING"), running, httpx.ReadError("cut"), httpx.Response(503), event("COMPLETED"), done)
    shown = [one.data["status"] for one in asking(answer).stream("1")]
    assert shown == ["PENDING", "COMPLETED"]


def test_data_of_several_lines_is_one_event() -> None:
    parser = cyberimage.protocol.EventParser()
    lines = [": still here", "", "event: status", "id: 1", 'data: {"a":', "data: 1}", "", "retry: 1000", ""]
    assert [event for line in lines for event in parser.feed(line)] == [cyberimage.Event("status", {"a": 1})]


def test_the_token_is_sent() -> None:
    requests, answer = busy(httpx.Response(200, json=ACCEPTED))
    cyberimage.Client("http://server", "ci_good", transport=httpx.MockTransport(answer)).get_job_status("1")
    assert requests[0].headers["Authorization"] == "Bearer ci_good"


@pytest.mark.parametrize("url", ["", "server", "ftp://server", "http://", "http://server:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(cyberimage.Error, match="no URL"):
        cyberimage.Client(url)


def test_another_program_at_the_address_is_told(pauses: list[float]) -> None:
    _, answer = busy(httpx.Response(200, text="<html>"))
    with pytest.raises(cyberimage.Error, match="is it a CyberImage"):
        asking(answer).get_job_status("1")
