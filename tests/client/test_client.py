"""The Python client against a server on a real socket, and against one that is busy, away or wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

import cyberimage
from app.errors import ModelUnavailable
from cyberimage import client as client_module
from cyberimage import protocol
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


JOB_ID = "1" * 32
ACCEPTED = {"job_id": JOB_ID, "status": "PENDING", "warnings": []}


def test_a_submission_is_repeated_under_one_key(pauses: list[float]) -> None:
    cut, unavailable = httpx.ReadError("cut"), httpx.Response(503, headers={"Retry-After": "7"})
    requests, answer = busy(cut, unavailable, httpx.Response(429), httpx.Response(202, json=ACCEPTED))
    assert asking(answer).generate_image("a boat").id == JOB_ID
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1
    assert len({request.content for request in requests}) == 1
    assert 0 < pauses[0] <= 0.5
    assert pauses[1] == 7
    assert 1.5 <= pauses[2] <= 2


def test_attempts_are_limited(pauses: list[float]) -> None:
    requests, answer = busy(*(httpx.ConnectError("refused") for _ in range(9)))
    with pytest.raises(cyberimage.Unreachable, match="No answer from http://server: refused"):
        asking(answer, retries=2).get_job_status(JOB_ID)
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
        asking(server).get_job_status(JOB_ID)
    assert (len(requests), pauses) == (1, [])


def test_a_stream_that_breaks_goes_on(pauses: list[float]) -> None:
    def event(status: str) -> httpx.Response:
        data = json.dumps({"job_id": JOB_ID, "status": status})
        return httpx.Response(200, text=f": hello\n\nretry: 1000\n\nevent: status\nid: 4\ndata: {data}\n\n")

    running = httpx.Response(200, json=ACCEPTED | {"status": "PROCESSING"})
    done = httpx.Response(200, json=ACCEPTED | {"status": "COMPLETED"})
    _, answer = busy(event("PENDING"), running, httpx.ReadError("cut"), httpx.Response(503), event("COMPLETED"), done)
    shown = [one.data["status"] for one in asking(answer).stream(JOB_ID)]
    assert shown == ["PENDING", "COMPLETED"]


def test_data_of_several_lines_is_one_event() -> None:
    parser = cyberimage.protocol.EventParser()
    lines = [": still here", "", "event: status", "id: 1", 'data: {"a":', "data: 1}", "", "retry: 1000", ""]
    assert [event for line in lines for event in parser.feed(line)] == [cyberimage.Event("status", {"a": 1})]


def test_the_token_is_sent() -> None:
    requests, answer = busy(httpx.Response(200, json=ACCEPTED))
    cyberimage.Client("http://server", "ci_good", transport=httpx.MockTransport(answer)).get_job_status(JOB_ID)
    assert requests[0].headers["Authorization"] == "Bearer ci_good"


@pytest.mark.parametrize("url", ["", "server", "ftp://server", "http://", "http://server:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(cyberimage.Error, match="no URL"):
        cyberimage.Client(url)


def test_another_program_at_the_address_is_told(pauses: list[float]) -> None:
    _, answer = busy(httpx.Response(200, text="<html>"))
    with pytest.raises(cyberimage.Error, match="is it a CyberImage"):
        asking(answer).get_job_status(JOB_ID)


class AskingAsync:
    """The calls of `AsyncClient`, each in an event loop of its own."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def get_job_status(self, job: str) -> cyberimage.Job:
        return asyncio.run(self._client().get_job_status(job))

    def get_image(self, image: str) -> bytes:
        return asyncio.run(self._client().get_image(image))

    def cancel(self, job: str) -> cyberimage.Job:
        return asyncio.run(self._client().cancel(job))

    def request(self, method: str, path: str) -> dict[str, object]:
        return asyncio.run(self._client().request(method, path))

    def stream(self, job: str) -> list[cyberimage.Event]:
        async def events() -> list[cyberimage.Event]:
            return [event async for event in self._client().stream(job)]

        return asyncio.run(events())

    def _client(self) -> cyberimage.AsyncClient:
        return cyberimage.AsyncClient("http://server", retries=0, transport=httpx.MockTransport(self._answer))


Asking = Callable[[Answer], cyberimage.Client | AskingAsync]
BOTH = pytest.mark.parametrize("ask", [lambda answer: asking(answer, retries=0), AskingAsync], ids=["sync", "async"])


@BOTH
def test_a_redirect_is_no_answer(ask: Asking) -> None:
    away = httpx.Response(302, headers={"Location": "http://elsewhere/"}, text="<html>Sign in</html>")
    requests, answer = busy(away, away, away)
    for call in (lambda: ask(answer).get_image(JOB_ID), lambda: list(ask(answer).stream(JOB_ID))):
        with pytest.raises(cyberimage.Refused, match="302"):
            call()
    assert {request.url.host for request in requests} == {"server"}


@BOTH
@pytest.mark.parametrize("name", ["", "1", "../keys?x=1#", "../../cleanup?", "A" * 32, "1" * 33, "1" * 32 + "\n", None])
def test_what_is_no_id_is_not_asked_for(ask: Asking, name: str) -> None:
    requests, answer = busy()
    client = ask(answer)
    calls = (client.get_job_status, client.cancel, client.get_image, lambda job: list(client.stream(job)))
    for call in calls:
        with pytest.raises(cyberimage.Error, match="is no id of a"):
            call(name)
    assert requests == []


@BOTH
@pytest.mark.parametrize("path", ["", "api/models", "http://elsewhere/", "//elsewhere/api/models"])
def test_a_request_goes_to_the_own_server_only(ask: Asking, path: str) -> None:
    requests, answer = busy(httpx.Response(200, json={}))
    with pytest.raises(cyberimage.Error, match="no path on the server"):
        ask(answer).request("GET", path)
    assert requests == []


@pytest.mark.parametrize("url", ["http://user:S3cret@server", "http://S3cret@server:x", "ftp://user:S3cret@server"])
def test_a_password_in_the_address_is_refused_and_not_shown(url: str) -> None:
    for kind in (cyberimage.Client, cyberimage.AsyncClient):
        with pytest.raises(cyberimage.Error, match="`token`") as raised:
            kind(url)
        assert "S3cret" not in str(raised.value)


DEEP = "[" * 200_000
PICTURE = {"image_id": JOB_ID, "url": "/x", "mime_type": "image/png", "width": 8, "height": 8, "sha256": "0"}


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, text=DEEP),
        httpx.Response(200, content=b"\xff\xfe\xff"),
        httpx.Response(200, json={"job_id": 1, "status": "PENDING"}),
        httpx.Response(200, json=ACCEPTED | {"error": "none"}),
        httpx.Response(200, json=ACCEPTED | {"progress": 5}),
        httpx.Response(200, json=ACCEPTED | {"images": [{}]}),
        httpx.Response(200, json=ACCEPTED | {"images": [PICTURE | {"width": "8"}]}),
        httpx.Response(200, json=ACCEPTED | {"warnings": [1]}),
        httpx.Response(500, text=DEEP),
        httpx.Response(400, json={"errors": 5, "code": [], "detail": {}}),
    ],
)
def test_an_answer_of_another_form_raises_the_clients_error(ask: Asking, answer: httpx.Response) -> None:
    with pytest.raises(cyberimage.Error) as raised:
        ask(busy(httpx.Response(answer.status_code, content=answer.content))[1]).get_job_status(JOB_ID)
    if isinstance(raised.value, cyberimage.Refused):
        assert (raised.value.code, raised.value.errors) == ("unknown", [])


def streamed(*chunks: bytes, **headers: str) -> httpx.Response:
    async def later() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    class Both(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(chunks)

        def __aiter__(self) -> AsyncIterator[bytes]:
            return later()

    return httpx.Response(200, headers=headers, stream=Both())


@BOTH
def test_a_file_that_cannot_be_decoded_raises_the_clients_error(ask: Asking) -> None:
    _, answer = busy(streamed(b"xx", **{"Content-Encoding": "gzip"}))
    with pytest.raises(cyberimage.Error, match="no usable answer"):
        ask(answer).get_image(JOB_ID)


@BOTH
@pytest.mark.parametrize("data", [b"data: {nope", b"data: []", b"data: " + DEEP.encode(), b"data: \xff"])
def test_an_event_of_another_form_raises_the_clients_error(ask: Asking, data: bytes) -> None:
    _, answer = busy(streamed(data + b"\n\n"))
    with pytest.raises(cyberimage.Error, match="The stream has"):
        list(ask(answer).stream(JOB_ID))


@BOTH
@pytest.mark.parametrize("between", [b"", b"\ndata: "], ids=["line", "event"])
def test_an_event_without_end_is_not_kept(ask: Asking, between: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_EVENT_BYTES", 1000)
    _, answer = busy(streamed(b"data: ", *[b"x" * 100 + between] * 50))
    with pytest.raises(cyberimage.Error, match="of more than 1,000 bytes"):
        list(ask(answer).stream(JOB_ID))


@BOTH
def test_only_a_file_may_be_large(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_JSON_BYTES", 1000)
    large = [b"x" * 100] * 50
    assert ask(busy(streamed(*large))[1]).get_image(JOB_ID) == b"".join(large)
    with pytest.raises(cyberimage.Error, match="more than 1,000 bytes"):
        ask(busy(streamed(*large))[1]).get_job_status(JOB_ID)


@BOTH
def test_lines_may_come_in_any_pieces(ask: Asking) -> None:
    data = json.dumps({"job_id": JOB_ID, "name": "f\u00fcchse\u2028"}, ensure_ascii=False).encode()
    whole = b"event: status\r\ndata: " + data + b"\r\n\r\n"
    done = httpx.Response(200, json=ACCEPTED | {"status": "COMPLETED"})
    _, answer = busy(streamed(*(whole[at : at + 1] for at in range(len(whole)))), done)
    assert [event.data for event in ask(answer).stream(JOB_ID)] == [json.loads(data)]
