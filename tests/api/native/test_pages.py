"""The front door, the health routes, the headers of everything, and errors that nobody expected."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest

from app import __version__, create_app
from app.config import ROOT
from app.store.queue.workers import WorkerReport


def raises(error):
    def raising(*_, **__):
        raise error

    return raising


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("accept", ["*/*", "", "application/json"])
def test_programs_get_a_signpost(client, accept):
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.json["name"], answer.json["version"]) == ("CyberImage", __version__)
    for path in answer.json["links"].values():
        assert client.open(path, method="OPTIONS").status_code == 200


def test_browsers_get_the_page(client):
    answer = client.get("/", headers=BROWSER)
    assert answer.mimetype == "text/html"
    assert "Accept" in answer.vary
    for name in ("generate-form", "prompt", "model", "steps", "steps-value"):
        assert f'id="{name}"' in answer.text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_need_no_inline_code_and_nothing_from_elsewhere(client, path):
    answer = client.get(path, headers=BROWSER)
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=|(src|href)=\"(https?:)?//", answer.text)
    for asset in re.findall(r'(?:src|href)="(/static/[^"#]+)', answer.text):
        assert client.get(asset).status_code == 200, asset


def test_the_docs_show_every_route_and_code(client, app):
    text = client.get("/docs").text
    for path in app.api_doc["paths"]:
        assert path in text
    assert 'id="prompt_too_long"' in text


def test_health(client, context, problem):
    assert client.get("/livez").json == {"status": "ok"}
    assert (client.get("/health").json["status"], client.get("/health").json["ready"]) == ("ok", False)
    assert "worker" in problem(client.get("/readyz"), 503, "unavailable")["detail"]
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu", models=[{"model_id": "demo", "bytes": 1}]))
    assert client.get("/readyz").json["ready"] is True
    status = client.get("/status").json
    assert (status["workers"][0]["id"], status["images"], status["queue"]["PENDING"]) == (
        "w",
        {"count": 0, "bytes": 0},
        0,
    )
    demo = next(model for model in client.get("/api/models").json["models"] if model["id"] == "demo")
    assert (demo["loaded"], demo["memory_plans"]) == (True, [])


def test_a_model_says_how_workers_hold_it(client, context):
    """One entry for each way: machines differ."""

    def held(**model):
        return [{"model_id": "demo", "bytes": 1} | model]

    reports = {
        "w1": held(form="float8", offload="model"),
        "w2": held(form="16 bit", offload="none"),
        "w3": held(form="16 bit", offload="none"),
        "w4": held(form="4 bit", offload="none", parked=True),
    }
    for worker_id, models in reports.items():
        context.workers.heartbeat(WorkerReport(worker_id, "host", 1, "cuda", models=models))
    found = {model["id"]: model["memory_plans"] for model in client.get("/api/models").json["models"]}
    assert found["demo"] == ["16 bit, none", "float8, model"]
    assert found["demo-sd3"] == []


def test_a_server_whose_database_takes_no_writes_is_not_ready(client, context, problem):
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu"))
    context.database.read_only = True
    assert "database: read-only" in problem(client.get("/readyz"), 503, "unavailable")["detail"]
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu"))
    assert client.get("/readyz").json["ready"] is True


def test_a_server_whose_pictures_cannot_be_written_is_not_ready(client, context, problem, monkeypatch):
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu"))
    monkeypatch.setattr(os, "fsync", raises(OSError(errno.EROFS, "")))
    assert "disk: images: read-only file system" in problem(client.get("/readyz"), 503, "unavailable")["detail"]
    assert client.get("/health").json["checks"]["disk"] == "images: read-only file system"


@pytest.mark.parametrize("of", ["images", "database"])
def test_a_server_whose_disk_is_full_is_not_ready_though_there_is_no_floor(client, context, problem, monkeypatch, of):
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu"))
    if of == "images":
        monkeypatch.setattr("app.files.probe.free_bytes", lambda _: 1000)
    else:
        monkeypatch.setattr(type(context.database), "free_bytes", lambda _: 1000, raising=False)
    checks = {one["field"]: one["message"] for one in problem(client.get("/readyz"), 503, "unavailable")["errors"]}
    assert list(checks) == ["disk"]
    assert of in checks["disk"]


def test_a_server_that_stops_is_not_ready(app, client, context, problem):
    context.workers.heartbeat(WorkerReport("w", "host", 1, "cpu"))
    app.extensions["cyberimage"].stopping.set()
    assert "stopping" in problem(client.get("/readyz"), 503, "unavailable")["detail"]
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/api/generate", "/v1/txt2img"])
def test_a_server_that_stops_takes_no_jobs_and_shows_what_it_has(app, client, submit, problem, path):
    job_id = submit()
    app.extensions["cyberimage"].stopping.set()
    answer = client.post(path, json={"prompt": "a fox"})
    assert "is stopping" in problem(answer, 503, "unavailable")["detail"]
    assert answer.headers["Retry-After"] == "5"
    assert client.get(f"/api/status/{job_id}").status_code == 200
    assert client.post(f"/api/jobs/{job_id}/cancel").status_code == 200


def test_a_proxy_has_half_of_the_drain_to_see_the_stop_before_jobs_are_refused(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, drain_seconds=600))
    client, stopping = app.test_client(), app.extensions["cyberimage"].stopping
    stopping.set()
    assert "stopping" in problem(client.get("/readyz"), 503, "unavailable")["detail"]
    assert client.post("/api/generate", json={"prompt": "a fox"}).status_code == 202
    stopping._since -= 300
    problem(client.post("/api/generate", json={"prompt": "a fox"}), 503, "unavailable")
    app.extensions["cyberimage"].close()


def test_models_tell_their_rules(client):
    models = {model["id"]: model for model in client.get("/api/models").json["models"]}
    assert models["sana-sprint"]["steps"] == {"fixed": 2}
    assert models["demo"]["steps"] == {"min": 4, "max": 50, "default": 20}
    assert client.get("/api/models").json["default"] == "demo"


def test_the_queue(client, submit, worker):
    submit("a"), submit("b"), submit("c")
    worker.claim()
    queue = client.get("/api/queue").json
    assert (queue["counts"]["PENDING"], queue["counts"]["PROCESSING"]) == (2, 1)
    assert [(job["prompt"], job["position"]) for job in queue["waiting"]] == [("b", 1), ("c", 2)]
    assert [job["prompt"] for job in queue["running"]] == ["a"]


@pytest.mark.parametrize("path", ["/livez", "/no/such/page", "/docs", "/static/css/docs.css"])
def test_every_response_has_an_id(client, path):
    made_up = client.get(path).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made_up)
    assert client.get(path, headers={"X-Request-Id": "trace-7.a_B"}).headers["X-Request-Id"] == "trace-7.a_B"
    for hostile in ("a b", "x" * 65, "<script>", "\xe9"):
        assert client.get(path, headers={"X-Request-Id": hostile}).headers["X-Request-Id"] != hostile


def explode(*_):
    raise RuntimeError("secret detail")


def test_an_unexpected_error_is_logged_and_shown_on_this_machine_in_development(
    client, context, problem, monkeypatch, caplog
):
    monkeypatch.setattr(type(context.jobs), "counts", explode)
    with caplog.at_level("ERROR", "cyberimage.api"):
        answer = client.get("/api/queue")
    detail = problem(answer, 500, "internal")["detail"]
    assert re.search(r"RuntimeError: secret detail at test_pages\.py:\d+\.", detail)
    assert "RuntimeError: secret detail" in caplog.text
    assert caplog.records[-1].request_id == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("environment", "address", "headers"),
    [
        ("production", "127.0.0.1", {}),
        ("development", "192.168.1.7", {}),
        ("development", "127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}),
        ("development", "127.0.0.1", {"Forwarded": "for=203.0.113.7"}),
        ("development", "127.0.0.1", {"X-Forwarded-Proto": "https"}),
        ("development", "127.0.0.1", {"X-Real-IP": "203.0.113.7"}),
        ("development", "127.0.0.1", {"Via": "1.1 proxy"}),
        ("development", "127.0.0.1", {"Host": "images.example"}),
    ],
)
def test_an_unexpected_error_shows_nothing_elsewhere(
    settings_in, tmp_path, problem, monkeypatch, environment, address, headers
):
    app = create_app(
        settings_in(tmp_path, trusted_hosts="images.example,localhost").model_copy(update={"environment": environment})
    )
    context = app.extensions["cyberimage"].context
    monkeypatch.setattr(type(context.jobs), "counts", explode)
    answer = app.test_client().get("/api/queue", headers=headers, environ_base={"REMOTE_ADDR": address})
    problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    context.close()


def test_the_status_says_how_full_the_disk_is(client, context, monkeypatch):
    assert 0 < client.get("/status").json["disk"]["percent"] <= 100
    monkeypatch.setattr(type(context.images), "used_percent", lambda _: None)
    assert client.get("/status").json["disk"]["percent"] is None


class TestCrossOrigin:
    def ask(self, app, origin):
        return (
            app.test_client().get("/api/models", headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")
        )

    def test_off_by_default(self, app):
        assert self.ask(app, "https://a.example") is None

    def test_only_the_configured_origins(self, settings_in, tmp_path):
        app = create_app(settings_in(tmp_path, cors_origins="https://a.example, https://b.example"))
        assert self.ask(app, "https://b.example") == "https://b.example"
        assert self.ask(app, "https://a.example.evil.com") is None


def test_the_api_process_stays_light():
    """Neither torch nor what comes with it; and a worker that imports `app` gets no Flask."""
    program = (
        "import sys, tempfile, pathlib; from app.config import load_settings; assert 'flask' not in sys.modules\n"
        "import app.server.gunicorn_app\n"
        "d = pathlib.Path(tempfile.mkdtemp()); from app import create_app\n"
        "create_app(load_settings({}, None, database_url=f'sqlite:///{d}/db', images_dir=d / 'images'))\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'app.engines', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_browsers_find_the_icon_that_they_ask_for_unasked(client):
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.data[:4]) == (200, b"\0\0\1\0")
    assert answer.mimetype in ("image/vnd.microsoft.icon", "image/x-icon")
    assert 'rel="icon"' in client.get("/docs").text
