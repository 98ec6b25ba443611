"""A provider on loopback, and an installation with a worker of the remote lane that uses only this provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.core.backoff import Backoff
from app.worker.loop import Worker
from app.worker.remote_worker import remote_worker
from tests.providers.replicate_server import SECRET, TOKEN, StandIn, replicate
from tests.services.webhooks.conftest import receiver  # noqa: F401 - a fixture
from tests.waiting import PATIENCE
from tests.worker.conftest import new_harness  # noqa: F401 - a fixture
from tests.worker.harness import Harness

STEPS = '{"steps": {"min": 1, "max": 50, "default": 4}}'


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with replicate() as server:
        yield server


@pytest.fixture
def settings(provider: StandIn) -> dict[str, str]:
    return {
        "REPLICATE_API_TOKEN": TOKEN,
        "REPLICATE_BASE_URL": provider.url,
        "REPLICATE_WEBHOOK_SECRET": SECRET,
        "REMOTE_TIMEOUT_SECONDS": "60",
        "MODEL_PAINTER": f"painter;acme/painter;A painter;replicate;false;{STEPS}",
        "MODEL_SIZED": "sized;acme/sized;Sized;replicate;false",
        "MODEL_CLIP": 'clip;acme/clip;Clips;replicate;false;{"media": "video", "tasks": ["txt2img", "img2img"]}',
    }


@pytest.fixture
def harness(new_harness: Callable[..., Harness], settings: dict[str, str]) -> Harness:  # noqa: F811
    return new_harness(**settings)


@pytest.fixture
def client(harness: Harness) -> FlaskClient:
    return create_app(harness.context.settings).test_client()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens intervals of polling and retries."""
    for name in ("retry.ASK_PAUSES", "poll.POLL_PAUSES", "poll.POLL_PAUSES_WITH_WEBHOOK"):
        monkeypatch.setattr(f"app.engines.replicate.{name}", (0.05,))
    monkeypatch.setattr("app.engines.remote.FETCH_PAUSE", Backoff(first=0.02, longest=0.1))
    monkeypatch.setattr("app.engines.remote.LATER", Backoff(first=0.05, longest=0.1))
    monkeypatch.setattr("app.worker.abandoned_predictions.SWEEP_SECONDS", 0.1)
    monkeypatch.setattr("app.worker.abandoned_predictions.LATE_SECONDS", 1.0)
    monkeypatch.setattr("app.worker.finalizer.BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr("app.store.queue.lease_expiry.BACKOFF_SECONDS", 0.05)


@pytest.fixture
def start_worker(quick: None) -> Iterator[Callable[[Harness], Worker]]:
    """Starts workers of the remote lane, which are stopped after the test."""
    hired: list[tuple[Worker, threading.Thread]] = []

    def start(harness: Harness) -> Worker:
        worker = remote_worker(harness.context)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        hired.append((worker, thread))
        return worker

    yield start
    for worker, thread in hired:
        worker.stop(0)
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def worker(start_worker: Callable[[Harness], Worker], harness: Harness) -> Worker:
    return start_worker(harness)
