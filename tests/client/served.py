"""Fixtures: an API on a real socket with a worker behind it, that runs a fake engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from werkzeug.serving import make_server

from app import create_app
from app.services.ops.stats import readiness
from tests.waiting import wait_until
from tests.worker.conftest import new_harness
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness

__all__ = ["engine", "harness", "idle_url", "new_harness", "url"]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def harness(new_harness: Callable[..., Harness]) -> Harness:
    return new_harness()


@pytest.fixture
def idle_url(harness: Harness) -> Iterator[str]:
    """The address of an API without a worker."""
    server = make_server("127.0.0.1", 0, create_app(harness.context.settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def url(idle_url: str, harness: Harness, engine: FakeEngine) -> str:
    """The address of an API with a worker behind it that claims jobs."""
    harness.start(engine)
    wait_until(lambda: readiness(harness.context).ready, "the worker is not ready")
    return idle_url
