"""Requests made up by hypothesis, sent to a real server: bodies, forms and WebSocket messages of all kinds of nonsense.

    python -m tests.hostile.fuzz --minutes 60        (make fuzz)

Whatever is sent, the answer is no 5xx (but 503 and 504 with their codes), every refusal is a problem document with a
request id, and the server stays well. A failure prints the request, made as small as hypothesis can.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.hostile.pictures import png
from tests.hostile.server import HostileServer
from tests.processes import Processes

FLAT = (
    "prompt negative_prompt model_id num_inference_steps guidance_scale seed width height num_images"
    " lora_path lora_scale timeout"
)
NATIVE = "prompt negative_prompt model_id settings priority webhook_url image mask strength"
ROUTES: dict[str, str] = {
    "/api/generate": NATIVE,
    "/v1/generate/txt2img": FLAT,
    "/v1/img2img": f"{FLAT} image mask strength",
    "/v1/models/load": "model_id",
    "/v1/models/unload": "model_id",
    "/v1/loras/load": "lora_path name",
    "/v1/loras/unload": "lora_path name",
    "/v1/inference/demo": "inputs parameters",
    "/api/run-image-model": "model input webhook_url",
    "/api/session": "token",
}
TAKE_FORMS = ("/api/generate", "/v1/img2img", "/v1/inference/demo")
STREAM = "/v1/stream/generate/txt2img"
PICTURE = png(16, 16)
TOLD = (503, 504)  # answers of their own, with their codes: no room, no worker; a wait that ended
EXAMPLES = 100  # of each attack in a round

# --- what is sent

text = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "Cn", "Co", "Lo"]), max_size=12),  # lone surrogates too
    st.sampled_from(
        ["", " ", "\0", "a red circle", "../../etc/passwd", "{{7*7}}", "demo", "http://[", "https://xn--a/"]
    ),
    st.sampled_from(["data:image/png;base64,", "cyberimage://image/" + "0" * 32, "x" * 3000]),
)
number = st.one_of(
    st.integers(-5, 2000), st.integers(), st.floats(), st.sampled_from([2**31, 2**63, 2**64, -0.0, 1e308, 10**400])
)
plain = st.one_of(st.none(), st.booleans(), number, text)
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


def bodies(fields: str) -> SearchStrategy[dict[str, Any]]:
    """JSON objects with known members of any value, mostly with a valid prompt."""
    known = st.dictionaries(st.sampled_from(fields.split()) | text, anything, max_size=5)
    return st.tuples(known, st.booleans()).map(lambda pair: pair[0] | ({"prompt": "a boat"} if pair[1] else {}))


def written(value: object) -> bytes:
    """JSON, with invalid Unicode escaped."""
    return json.dumps(value).encode()


def damaged(body: bytes) -> SearchStrategy[bytes]:
    """`body` unchanged, truncated, or with other bytes in it."""
    harness = st.integers(0, len(body))
    cut = harness.map(lambda at: body[:at])
    mixed = st.tuples(harness, st.binary(max_size=6)).map(lambda pair: body[: pair[0]] + pair[1] + body[pair[0] :])
    return st.one_of(st.just(body), st.just(body), cut, mixed)


def forms(fields: str) -> SearchStrategy[bytes]:
    """The parts of a multipart form, each with any name, file name, type and content; the boundary is `b`."""
    name = st.sampled_from(fields.split()) | text
    part = st.tuples(
        name,
        st.none() | st.sampled_from(["", "a.png", '"', "../x"]) | text,
        st.none() | st.sampled_from(["image/png", "text/plain; charset=utf-16", "application/json", "x"]),
        st.binary(max_size=64) | st.just(PICTURE) | text.map(lambda it: it.encode("utf-8", "surrogatepass")),
    )
    return st.lists(part, max_size=5).map(lambda parts: b"".join(map(_part, parts)) + b"--b--\r\n")


def _part(about: tuple[str, str | None, str | None, bytes]) -> bytes:
    name, filename, kind, content = about
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {kind}" if kind is not None else ""
    return head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + content + b"\r\n"


# --- the attacks; each is a function of the server, for hypothesis to call


def json_bodies(server: HostileServer) -> Callable[[], None]:
    client = httpx.Client(base_url=server.url, timeout=60)

    @given(st.data(), st.sampled_from(sorted(ROUTES)))
    def attack(data: st.DataObject, route: str) -> None:
        body = data.draw(damaged(written(data.draw(bodies(ROUTES[route])))))
        kind = data.draw(st.sampled_from(["application/json", "application/json", "text/plain", "", "a/b; charset=x"]))
        check(client.post(route, content=body, headers={"Content-Type": kind}))

    return attack


def form_bodies(server: HostileServer) -> Callable[[], None]:
    client = httpx.Client(base_url=server.url, timeout=60)

    @given(st.data(), st.sampled_from(TAKE_FORMS))
    def attack(data: st.DataObject, route: str) -> None:
        body = data.draw(damaged(data.draw(forms(ROUTES[route]))))
        check(client.post(route, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}))

    return attack


def queries(server: HostileServer) -> Callable[[], None]:
    client = httpx.Client(base_url=server.url, timeout=60)
    names = "limit cursor model media search status since until job_id state before favorite download model_id"
    routes = ("/api/images", "/api/queue", "/api/status/0", "/api/webhooks/deliveries", "/api/models", "/status", "/")

    @given(st.sampled_from(routes), st.dictionaries(st.sampled_from(names.split()) | text, text, max_size=4))
    def attack(route: str, asked: dict[str, str]) -> None:
        pairs = {
            key.encode("utf-8", "surrogatepass"): value.encode("utf-8", "surrogatepass") for key, value in asked.items()
        }
        query = "&".join(f"{_escaped(key)}={_escaped(value)}" for key, value in pairs.items())
        check(client.get(f"{route}?{query}"))

    return attack


def _escaped(raw: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in raw)


def web_sockets(server: HostileServer) -> Callable[[], None]:
    url = server.url.replace("http", "ws") + STREAM
    first = st.one_of(bodies(FLAT).map(lambda body: json.dumps(body)), st.text(max_size=50), st.binary(max_size=50))

    @given(st.lists(first, min_size=1, max_size=3), st.booleans())
    def attack(messages: list[str | bytes], says_goodbye: bool) -> None:
        with contextlib.suppress(ConnectionClosed), connect(url, open_timeout=60, close_timeout=5) as socket:
            for message in messages:
                socket.send(message)
            message = json.loads(socket.recv(timeout=60))
            assert message["type"] in ("progress", "result", "error"), message
            assert message.get("code") != "internal", message
            if says_goodbye:
                socket.close(1000)

    return attack


ATTACKS = {"json": json_bodies, "forms": form_bodies, "queries": queries, "websockets": web_sockets}


def check(answer: httpx.Response) -> None:
    """Checks that hold for every response."""
    about = (answer.status_code, answer.text[:500])
    assert answer.status_code < 500 or answer.status_code in TOLD, about
    assert answer.headers.get("X-Request-Id"), about
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", about
        assert {"code", "detail", "request_id"} <= answer.json().keys(), about
        assert answer.json()["code"] != "internal", about


def run(attack: Callable[[], None], examples: int, number: int) -> None:
    """Run `examples` examples; `number` seeds them."""
    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    chosen(seed(number)(attack))()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--url", help="a server that runs already; without it one is started")
    asked = parser.parse_args()
    end_at = time.monotonic() + 60 * asked.minutes
    first = random.SystemRandom().getrandbits(32)  # other requests than the last time
    with tempfile.TemporaryDirectory(prefix="cyberimage-fuzz-") as name:
        processes = Processes(Path(name))
        try:
            server = SimpleNamespace(url=asked.url) if asked.url else HostileServer(processes, Path(name))
            for number in itertools.count():
                for attack in ATTACKS.values():
                    run(attack(server), EXAMPLES, first + number)
                assert asked.url or server.is_well()
                sys.stdout.write(f"{(number + 1) * EXAMPLES * len(ATTACKS)} requests\n")
                sys.stdout.flush()
                if time.monotonic() > end_at:
                    return 0
        finally:
            processes.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
