"""An installation on either database, a webhook receiver, and a dispatcher with short retry delays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core import webhooks as rules
from app.core.request import GenerationRequest
from app.services.context import AppContext, open_context
from app.services.webhooks import dispatcher as dispatcher_module
from app.services.webhooks.dispatcher import WebhookDispatcher
from app.store.ops.webhooks import WebhookStore
from tests.services.webhooks.receiver import Receiver, receiving
from tests.store.harness import Store
from tests.waiting import PATIENCE

SECRET = "whsec_" + "QUJD" * 10  # 30 bytes


class Harness:
    """An installation with shortcuts for the tests."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.store = Store(context.database)
        self.webhooks = WebhookStore(context.database)

    def submit(self, url: str | None, **values: object) -> str:
        request = GenerationRequest(model_id="demo", prompt="a red boat", num_inference_steps=16, seed=7)
        return self.store.jobs.enqueue(request, client_id="alice", webhook_url=url, **values)[0].id

    def finish(self, url: str | None) -> str:
        """A completed job, so that a message to `url` is due."""
        job_id = self.submit(url)
        self.store.complete(self.store.claim())
        return job_id

    def deliveries(self, job_id: str | None = None) -> list[rules.Delivery]:
        return self.webhooks.page(job_id=job_id)

    def only(self, job_id: str) -> rules.Delivery:
        (delivery,) = self.deliveries(job_id)
        return delivery


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def open_harness(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Opens installations with any settings; by default SQLite and private addresses allowed."""
    opened: list[AppContext] = []

    def open_one(**settings: object) -> Harness:
        defaults = {
            "database_url": f"sqlite:///{tmp_path / 'queue.db'}",
            "images_dir": tmp_path / "images",
            "webhook_allow_private": True,
            "webhook_secret": SECRET,
            "webhook_timeout_seconds": 2,
        }
        opened.append(open_context(load_settings({}, None, **(defaults | settings))))
        return Harness(opened[-1])

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture
def harness(open_harness: Callable[..., Harness]) -> Harness:
    return open_harness()


@pytest.fixture
def both(open_harness: Callable[..., Harness], database_url: str) -> Harness:
    """An installation on SQLite and one on PostgreSQL."""
    return open_harness(database_url=database_url)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens retry delays."""
    monkeypatch.setattr(rules, "RETRY_DELAYS", (0.02,) * len(rules.RETRY_DELAYS))
    monkeypatch.setattr(dispatcher_module, "POLL_SECONDS", 0.02)


@pytest.fixture
def start_dispatcher(quick: None) -> Iterator[Callable[[Harness], WebhookDispatcher]]:
    """Starts dispatchers, which are stopped after the test."""
    hired: list[WebhookDispatcher] = []

    def start(harness: Harness) -> WebhookDispatcher:
        hired.append(WebhookDispatcher(harness.context))
        hired[-1].start()
        return hired[-1]

    yield start
    for dispatcher in hired:
        dispatcher.stop(timeout=5)


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.01)
