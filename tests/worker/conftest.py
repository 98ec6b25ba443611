"""Fixtures of the worker tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import Processes
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


@pytest.fixture
def new_harness(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Callable[..., Harness]]:
    """Factory of a harness with the given settings, once per test."""
    made: list[Harness] = []

    def make(**environment: str) -> Harness:
        made.append(Harness(tmp_path, migrated_sqlite, **environment))
        return made[-1]

    yield make
    for harness in made:
        harness.close()


@pytest.fixture
def harness(new_harness: Callable[..., Harness]) -> Harness:
    return new_harness()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens backoff and lease expiry to fractions of a second."""
    monkeypatch.setattr("app.worker.finalizer.BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr("app.store.queue.lease_expiry.BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr("app.services.ops.maintenance.EXPIRE_EVERY_SECONDS", 0.1)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.close()
