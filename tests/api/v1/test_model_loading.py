"""Ordering models by HTTP; what the orders do is tested with workers."""

from __future__ import annotations

import threading

import pytest

from app.core.load_requests import LoadAction
from app.errors import ModelUnavailable
from app.store.queue.workers import WorkerReport
from tests.waiting import wait_until


@pytest.fixture
def alive(context):
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu", models=[{"model_id": "demo"}]))


@pytest.mark.parametrize("prefix", ["/api/v1", "/v1"])
def test_what_is_there_already(client, alive, prefix):
    answer = client.post(f"{prefix}/models/load", json={"model_id": "demo"})
    assert answer.status_code == 200
    nothing = {"seconds": None, "downloaded_bytes": None, "total_bytes": None, "eta_seconds": None}
    assert answer.json == {"status": "already_loaded", "model_id": "demo", "worker_id": "w1", **nothing}
    answer = client.post(f"{prefix}/models/unload", json={"model_id": "sd15"})
    assert (answer.status_code, answer.json) == (200, {"status": "not_loaded", "models": [], "workers": 0})


def test_past_the_timeout_the_order_stands(client, alive, context):
    answer = client.post("/v1/models/load", json={"model_id": "sd15", "timeout": 0})
    assert (answer.status_code, answer.json["status"]) == (202, "loading")
    assert context.load_requests.under_way(LoadAction.LOAD, "sd15")


def test_unload_needs_no_body(client, alive, context):
    context.settings.__dict__["sync_timeout_seconds"] = 0.05
    answer = client.post("/v1/models/unload")
    assert (answer.status_code, answer.json) == (202, {"status": "unloading", "models": ["demo"], "workers": 1})


def test_what_the_engine_says_is_passed_on(client, alive, context, problem):
    def refuse() -> None:
        wait_until(lambda: context.load_requests.under_way(LoadAction.LOAD, "sd15"), "no order")
        order = context.load_requests.take("w1")
        assert order is not None
        context.load_requests.failed(order, ModelUnavailable("A file is missing."))
        context.notifications.publish("news", order.id)

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    answer = client.post("/v1/models/load", json={"model_id": "sd15"})
    thread.join(20)
    assert problem(answer, 503, "model_unavailable")["detail"] == "A file is missing."


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_what_cannot_be_done(client, problem, context, verb):
    path = f"/api/v1/models/{verb}"
    problem(client.post(path, json={"model_id": "demo"}), 503, "no_worker")
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu"))
    problem(client.post(path, json={"model_id": "none"}), 404, "unknown_model")
    problem(client.post(path, json={"model_id": 7}), 400, "invalid_request")
    problem(client.post(path, data="x"), 415, "unsupported_media_type")
