"""Rate limits: two budgets per client, honest headers and addresses, bounded memory, and no cost when off."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.api.security.client_identity import BUCKETS
from app.config import ROOT, load_settings
from app.config.rate_limits import MOST_LIMITS, check_limit
from app.errors import ConfigurationError
from tests.ports import free_port


@pytest.fixture
def client_with(settings_in, tmp_path):
    """A client of a server with these settings."""
    made = []

    def make(**settings) -> FlaskClient:
        app = create_app(settings_in(tmp_path, **settings))
        made.append(app)
        return app.test_client()

    yield make
    for app in made:
        app.extensions["cyberimage"].close()


def ask(client: FlaskClient, images: int = 1, **request):
    body = {"prompt": "x", "settings": {"num_images": images}}
    return client.post("/api/generate", **{"json": body, **request})


def test_a_generation_costs_its_images(client_with, problem):
    client = client_with(rate_limit_generate="5 per hour")
    assert [ask(client, images).status_code for images in (2, 2)] == [202, 202]
    refused = ask(client, 2)
    body = problem(refused, 429, "rate_limited")
    assert "images" in body["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert ask(client, 1).status_code == 429  # what was refused counts too: hammering does not pay


def test_reads_and_generations_have_budgets_of_their_own(client_with):
    client = client_with(rate_limit_generate="1 per hour", rate_limit_read="3 per minute")
    reads = ["/api/models", "/api/queue", "/api/images", "/api/models"]
    assert [client.get(path).status_code for path in reads] == [200, 200, 200, 429]
    assert [ask(client).status_code for _ in range(2)] == [202, 429]


def test_what_keeps_an_eye_on_the_server_is_exempt(client_with):
    client = client_with(rate_limit_read="1 per day")
    client.get("/api/models")
    for path in ("/health", "/livez", "/metrics", "/", "/docs", "/openapi.json", "/static/js/main.js"):
        for _ in range(3):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert "RateLimit" not in answer.headers
    assert client.get("/readyz").status_code == 503  # no worker
    assert client.get("/api/models").status_code == 429


def test_every_route_is_limited_or_exempt_on_purpose(client_with):
    client = client_with(rate_limit_read="1 per day", rate_limit_generate="1 per day")
    limited = {
        rule.endpoint
        for rule in client.application.url_map.iter_rules()
        if hasattr(client.application.view_functions[rule.endpoint], "__wrapper-limiter-instance")
    }
    free = {rule.endpoint for rule in client.application.url_map.iter_rules()} - limited
    assert {each for each in free if not each.startswith("docs.")} == {
        "static", "pages.root", "health.livez", "health.health", "health.readyz", "metrics.metrics",
        "offline.offline", "offline.service_worker",
    }  # fmt: skip


def test_the_headers_say_how_much_is_left(client_with):
    client = client_with(rate_limit_generate="3 per minute; 10 per day")
    headers = ask(client, 2).headers
    assert headers["RateLimit-Policy"] == '"per-60s";q=3;w=60, "per-86400s";q=10;w=86400'
    minute, day = headers["RateLimit"].split(", ")
    assert minute.startswith('"per-60s";r=1;t=')
    assert day.startswith('"per-86400s";r=8;t=')
    assert 0 < int(minute.rpartition("=")[2]) <= 60
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("3", "1")
    assert 0 < int(headers["X-RateLimit-Reset"]) - time.time() <= 62
    assert "Retry-After" not in headers


NONSENSE = [
    "{",
    "[]",
    '{"settings": 7}',
    *(f'{{"settings": {{"num_images": {x}}}}}' for x in ("-5", "1e999", '"many"')),
]


@pytest.mark.parametrize("body", ["", *NONSENSE])
def test_nonsense_costs_one_and_gets_its_own_error(client_with, body):
    kind = "application/json" if body else "text/plain"
    client = client_with(rate_limit_generate="2 per hour")
    answers = [client.post("/api/generate", data=body, content_type=kind).status_code for _ in range(3)]
    assert answers[0] in (400, 415)
    assert answers == [answers[0], answers[0], 429]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "x", "settings": {"num_images": 2.0}}),
        ("/v1/txt2img", {"prompt": "x", "num_images": 2, "timeout": 0}),
        ("/v1/txt2img", {"prompt": "x", "batch_size": 2, "timeout": 0}),
        ("/api/generate", {"prompt": "x", "settings": {"n": 2}}),
        ("/sdapi/v1/txt2img", {"prompt": "", "batch_size": None, "n_iter": 2}),
        ("/sdapi/v1/txt2img", {"prompt": "", "batch_size": True, "n_iter": 2}),
        ("/sdapi/v1/txt2img", {"prompt": "", "n_iter": 2}),
        ("/v1/inference/demo", {"inputs": "x", "parameters": {"num_images": 2, "timeout": 0}}),
        *(("/api/run-image-model", {"model": "a/b", "input": {name: "2"}}) for name in ("num_outputs", "n")),
        ("/api/run-image-model", {"model": "a/b", "input": {"num_outputs": 2.0}}),
    ],
)
def test_images_are_counted_however_they_are_written(client_with, path, body):
    client = client_with(rate_limit_generate="3 per hour")
    assert client.post(path, json=body).status_code != 429
    assert client.post(path, json=body).status_code == 429


def test_trying_a_job_again_is_a_generation(client_with):
    client = client_with(rate_limit_generate="6 per hour")
    job_id = ask(client, 3).json["job_id"]
    client.post(f"/api/jobs/{job_id}/cancel")
    assert client.post(f"/api/jobs/{job_id}/retry").status_code == 200
    assert ask(client).status_code == 429


def test_one_client_does_not_use_up_another_s(client_with):
    client = client_with(rate_limit_generate="1 per hour")
    here, there = ({"environ_base": {"REMOTE_ADDR": address}} for address in ("192.0.2.1", "192.0.2.2"))
    assert [ask(client, **who).status_code for who in (here, here, there)] == [202, 429, 202]


def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(client_with, settings_in, tmp_path):
    forged = [{"headers": {"X-Forwarded-For": f"192.0.2.{number}"}} for number in range(3)]
    alone = client_with(rate_limit_generate="1 per hour")
    assert [ask(alone, **who).status_code for who in forged] == [202, 429, 429]
    proxied = client_with(rate_limit_generate="1 per hour", trusted_proxies=1)
    assert [ask(proxied, **who).status_code for who in forged] == [202, 202, 202]
    # What stands before the proxy's own word is the client's invention.
    chains = [{"headers": {"X-Forwarded-For": f"10.9.8.{number}, 198.51.100.7"}} for number in range(2)]
    assert [ask(proxied, **who).status_code for who in chains] == [202, 429]


def test_an_address_that_is_none_is_no_server_error(client_with):
    client = client_with(trusted_proxies=1)
    assert ask(client, headers={"X-Forwarded-For": "x" * 5000}).status_code == 202


def test_an_ipv6_network_is_one_client(client_with):
    client = client_with(rate_limit_generate="1 per hour")
    hosts = [{"environ_base": {"REMOTE_ADDR": f"2001:db8:0:{net}::{host}"}} for net, host in ((1, 1), (1, 2), (2, 1))]
    assert [ask(client, **who).status_code for who in hosts] == [202, 429, 202]


def test_memory_is_bounded_however_many_addresses(client_with, monkeypatch):
    monkeypatch.setattr("app.api.security.client_identity.BUCKETS", 50)
    client = client_with(rate_limit_read="1000 per day")
    for number in range(500):
        client.get("/api/status/x", environ_base={"REMOTE_ADDR": f"10.0.{number // 250}.{number % 250}"})
    (limiter,) = client.application.extensions["limiter"]
    assert len(limiter.storage.storage) <= 50
    assert BUCKETS <= 100_000


@pytest.fixture
def redis_url(tmp_path) -> Iterator[str]:
    """A real Redis where one is installed: the stand-ins in Python close connections that a Redis would not."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    process = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(200):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(30)


def test_redis_counts_for_several_servers_together(client_with, redis_url):
    settings = {"rate_limit_generate": "3 per hour", "rate_limit_storage_url": redis_url}
    one, other = client_with(**settings), client_with(**settings)
    assert [ask(client).status_code for client in (one, other, one, other)] == [202, 202, 202, 429]


def test_redis_away_leaves_limits_that_hold_in_each_server(client_with):
    client = client_with(rate_limit_generate="2 per hour", rate_limit_storage_url="redis://127.0.0.1:1/0")
    assert [ask(client).status_code for _ in range(3)] == [202, 202, 429]


@pytest.mark.parametrize(
    ("name", "value"),
    [("RATE_LIMIT_GENERATE", "lots"), ("RATE_LIMIT_READ", "10 per fortnight"), ("RATE_LIMIT_STORAGE_URL", "http://x")],
)
def test_a_limit_that_cannot_be_read_stops_the_start(name, value):
    with pytest.raises(ConfigurationError, match=name):
        load_settings({name: value}, None)


def test_off_costs_nothing():
    """Not even the import."""
    program = (
        "import sys, tempfile, pathlib; from app.config import load_settings; from app import create_app\n"
        "d = pathlib.Path(tempfile.mkdtemp())\n"
        "create_app(load_settings({}, None, database_url=f'sqlite:///{d}/db', images_dir=d / 'images'))\n"
        "loaded = {'flask_limiter', 'limits', 'redis'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=60)


_CHECK = "import sys; from app.config.rate_limits import check_limit; check_limit(sys.argv[1])"


@pytest.mark.parametrize("limit", ["1 per 1 second; " * 10, " " * 190 + "x", "1 per 1 second;" * 9 + "1 per 1 "])
def test_a_limit_that_is_none_is_refused_at_once(limit):
    """In another process, which can be killed: an expression that backtracks holds the interpreter's lock."""
    done = subprocess.run([sys.executable, "-c", _CHECK, limit], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert "ValueError: use" in done.stderr


@pytest.mark.parametrize(
    "limit",
    ["", "1/second", " 10 PER 5 minutes ", "1perday", "1/second;2 / minute,3 per hour|4 per 2day"],
)
def test_every_notation_of_the_library_is_a_limit(limit):
    assert check_limit(limit) == limit


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (" ", "10 per minute"),
        ("lots", "10 per minute"),
        ("1 per fortnight", "10 per minute"),
        ("1 per day;", "10 per minute"),
        ("1 per day;;1 per hour", "10 per minute"),
        (";".join(["1 per day"] * (MOST_LIMITS + 1)), "at most 10 limits"),
        ("1" * 193 + " per day", "200 characters"),
        ("0 per day", "at least 1"),
        ("5 per minute; 00/day", "at least 1"),
    ],
)
def test_what_is_no_limit_is_refused_with_a_sentence(limit, words):
    with pytest.raises(ValueError, match=words):
        check_limit(limit)
