"""The access log: a line per request, sampled for polled routes, without ids, queries and bodies."""

from __future__ import annotations

import json
import logging

import pytest

from app import create_app
from app.monitoring.logs import configure_logging


@pytest.fixture
def lines(caplog, monkeypatch):
    """The records of requests so far."""
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.requests")
    return lambda: [record for record in caplog.records if record.name == "cyberimage.requests"]


def client_with(settings_in, tmp_path, request, **settings):
    app = create_app(settings_in(tmp_path, **settings))
    request.addfinalizer(app.extensions["cyberimage"].close)
    return app.test_client()


def test_a_request_is_one_line_without_what_may_be_secret(client, lines, submit, worker):
    job_id = submit("my secret prompt")
    image_id = worker.finish()[0]
    answer = client.get(f"/api/image/{image_id}?download=1", headers={"X-Request-Id": "r1"})
    made, fetched = lines()
    assert (made.method, made.route, made.status) == ("POST", "/api/generate", 202)
    assert (fetched.method, fetched.route, fetched.status) == ("GET", "/api/image/<image_id>", 200)
    assert (fetched.request_id, fetched.client, fetched.bytes) == ("r1", "ip:127.0.0.1", len(answer.data))
    assert fetched.ms >= 0
    text = made.getMessage() + fetched.getMessage()
    assert not any(hidden in text for hidden in (job_id, image_id, "secret", "download"))


def test_polled_routes_are_sampled_and_their_errors_are_not(settings_in, tmp_path, request, lines):
    client = client_with(settings_in, tmp_path, request, access_log_every=10)
    for _ in range(21):
        client.get("/livez")
    assert [(line.route, line.sampled) for line in lines()] == [("/livez", 10)] * 3
    client.get("/readyz")
    client.get(f"/api/status/{'0' * 32}")
    assert [line.status for line in lines()[3:]] == [503, 404]


@pytest.mark.parametrize(("which", "number"), [("all", 5), ("off", 0)])
def test_all_or_none(settings_in, tmp_path, request, lines, which, number):
    client = client_with(settings_in, tmp_path, request, access_log=which)
    for _ in range(5):
        client.get("/livez")
    assert len(lines()) == number


def test_an_unknown_path_and_a_strange_method_stay_out(client, lines):
    client.get("/no/such/secret")
    client.open("/livez", method="BREW")
    seen = [(line.method, line.route, line.status) for line in lines()]
    assert seen == [("GET", "other", 404), ("other", "other", 405)]


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_have_a_file_of_their_own(settings_in, tmp_path, request, style):
    client = client_with(settings_in, tmp_path, request, log_format=style, log_dir=tmp_path / "logs")
    logger = logging.getLogger("cyberimage")
    before = list(logger.handlers), logger.propagate, logger.level
    configure_logging(settings_in(tmp_path, log_format=style, log_dir=tmp_path / "logs"), "api")
    try:
        client.get("/openapi.json", headers={"X-Request-Id": "r1"})
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate = before[0], before[1]
        logger.setLevel(before[2])
    (line,) = (tmp_path / "logs" / "access.log").read_text().splitlines()
    app_log = tmp_path / "logs" / "app.log"
    assert not app_log.exists() or "/openapi.json" not in app_log.read_text()
    if style == "json":
        found = json.loads(line)
        assert [found[name] for name in ("route", "status", "request_id")] == ["/openapi.json", 200, "r1"]
    else:
        assert "method=GET route=/openapi.json status=200" in line
        assert "[request_id=r1]" in line
