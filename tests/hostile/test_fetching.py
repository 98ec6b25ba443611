"""URLs from clients reach the public internet only, and responses are limited in size."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.hostile.harness import Harness
from tests.hostile.pictures import bomb, png, text_bomb
from tests.hostile.server import HostileServer
from tests.processes import Processes
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MODEL = 'tiny;/none;Tiny;local;false;{"tasks": ["txt2img", "img2img"], "defaults": {"width": 64, "height": 64}}'


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, harness: Harness) -> Iterator[HostileServer]:
    folder = tmp_path_factory.mktemp("fetching")
    processes = Processes(folder)
    try:
        yield HostileServer(
            processes,
            folder,
            program="tests.hostile.stubbed",
            STUB_PUBLIC_PORT=str(harness.public_port),
            MODEL_T=MODEL,
            INPUT_MAX_BYTES="2000000",
            INPUT_FETCH_SECONDS="3",
        )
    finally:
        processes.close()


def start_from(server: HostileServer, image: str) -> httpx.Response:
    body = {"prompt": "a boat", "model_id": "tiny", "image": image}
    return httpx.post(f"{server.url}/api/generate", json=body, timeout=PATIENCE)


def test_the_stand_in_for_the_internet_works(server: HostileServer) -> None:
    answer = start_from(server, "http://public.test/picture.png")
    assert answer.status_code == 202, answer.text


ELSEWHERE = [
    "http://127.0.0.1:{secret}/",
    "http://localhost:{secret}/",
    "http://[::1]:{secret}/",
    "http://2130706433:{secret}/",
    "http://0x7f000001:{secret}/",
    "http://0177.0.0.1:{secret}/",
    "http://127.1:{secret}/",
    "http://[::ffff:127.0.0.1]:{secret}/",
    "http://[64:ff9b::7f00:1]:{secret}/",
    "http://0.0.0.0:{secret}/",
    "http://user:password@public.test/",
    "http://127.0.0.1:{secret}#@public.test/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://inside.test:{secret}/",
    "http://metadata.test/",
    "http://mixed.test/",
    "http://mapped.test:{secret}/",
    "http://rebinding.test:{secret}/",
    "http://rebinding.test:{secret}/",
    "http://public.test/to-loopback",
    "http://public.test/to-a-name",
    "http://public.test/to-metadata",
    "http://public.test/to-a-file",
    "http://public.test/in-circles",
    "http://public.test/step-1",
    "file:///etc/passwd",
    "ftp://public.test/x.png",
    "gopher://127.0.0.1:{secret}/_GET",
    "http://public.test:0/",
    "http:///nothing",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_url_reaches_internal_addresses(server: HostileServer, harness: Harness, url: str) -> None:
    answer = start_from(server, url.format(secret=harness.secret_port))
    if "rebinding" in url:  # once it may get as far as the public server, but never inside
        assert answer.status_code in (202, 400)
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_image"), answer.text
    assert harness.visited == []
    assert server.is_well()


@pytest.mark.parametrize("path", ["/endless", "/slow", "/bomb.png", "/page"])
def test_fetched_responses_are_limited(server: HostileServer, path: str) -> None:
    answer = start_from(server, f"http://public.test{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_image"), answer.text
    assert server.is_well()


FILES = {
    "pixel bomb": bomb(),
    "text bomb": text_bomb(),
    "no picture": b"GIF89a" + bytes(100),
    "cut off": png(64, 64)[:60],
    "a page": b"<html><script>alert(1)</script></html>",
    "an archive": b"PK\x03\x04" + bytes(200),
    "an svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "empty": b"",
}


@pytest.mark.parametrize("name", FILES)
def test_harmful_image_files_are_refused(server: HostileServer, name: str) -> None:
    before = server.memory()
    answer = start_from(server, "data:image/png;base64," + base64.b64encode(FILES[name]).decode())
    if name == "text bomb" and answer.status_code == 202:  # read without its comment
        assert server.memory() - before < 150_000_000
    else:
        assert (answer.status_code, answer.json()["code"]) in ((400, "invalid_image"), (413, "payload_too_large"))
    assert server.is_well()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{secret}/", "http://inside.test:{secret}/", "http://[::1]/", "javascript:x"]
)
def test_webhooks_never_reach_internal_addresses(server: HostileServer, harness: Harness, url: str) -> None:
    body = {"prompt": "x", "webhook_url": url.format(secret=harness.secret_port)}
    answer = httpx.post(f"{server.url}/api/generate", json=body)
    if "inside.test" in url:  # a name is judged when it is connected to
        job_id = answer.json()["job_id"]
        assert httpx.post(f"{server.url}/api/jobs/{job_id}/cancel").status_code == 200
        assert server.eventually(lambda: "private" in httpx.get(f"{server.url}/api/webhooks/deliveries").text)
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert harness.visited == []


def test_slow_hosts_occupy_few_request_threads(tmp_path, harness: Harness) -> None:
    """Each fetch may last ten minutes here, so that requests are refused because all slots are taken."""
    processes = Processes(tmp_path)
    try:
        slow = {"SERVER_THREADS": "8", "INPUT_FETCH_SECONDS": "600", "STUB_PUBLIC_PORT": str(harness.public_port)}
        server = HostileServer(processes, tmp_path, program="tests.hostile.stubbed", MODEL_T=MODEL, **slow)
        answers: list[httpx.Response] = []
        ask = lambda: answers.append(start_from(server, "http://public.test/slow"))  # noqa: E731
        for _ in range(20):
            threading.Thread(target=ask, daemon=True).start()
        wait_until(lambda: len(answers) == 18, "the others were not answered")
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "unavailable")}
        assert server.is_well()
    finally:
        processes.close()
