"""Readiness and metrics say how many devices work; without any that does, the service is not ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.monitoring.resources import Machine
from app.services.context import AppContext, open_context
from app.services.ops.metrics import InstallationMetrics
from app.services.ops.stats import readiness
from app.store.queue.workers import WORKER_STATES, WorkerReport


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    places = {"database_url": f"sqlite:///{tmp_path}/db", "images_dir": tmp_path / "images", "disk_floor_bytes": 0}
    opened = open_context(load_settings({}, None, **places))
    yield opened
    opened.close()


def report(context: AppContext, number: int, error: str | None = None, *, lane: str = "local") -> None:
    device = f"cuda:{number}" if lane == "local" else ""
    state = "unhealthy" if error else "idle"
    context.workers.heartbeat(
        WorkerReport(f"w{number}", "here", number, "cuda", state, lane=lane, device_id=device, device_error=error)
    )


def samples(context: AppContext, name: str) -> dict[tuple[str, ...], float]:
    families = InstallationMetrics(context, Machine()).collect()
    family = next(family for family in families if family.name == f"cyberimage_{name}")
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_all_devices_work(context: AppContext) -> None:
    report(context, 0)
    report(context, 1)
    assert readiness(context).checks["devices"] == "ok"
    assert samples(context, "device_healthy") == {("here", "cuda:0"): 1, ("here", "cuda:1"): 1}


def test_one_of_two_is_said_and_does_not_matter(context: AppContext) -> None:
    report(context, 0)
    report(context, 1, "CUDA error: unspecified launch failure")
    now = readiness(context)
    assert now.ready
    assert now.checks["devices"].startswith("1 of 2 devices work")
    assert samples(context, "device_healthy") == {("here", "cuda:0"): 1, ("here", "cuda:1"): 0}
    assert samples(context, "workers")["unhealthy",] == 1


def test_none_is_not_ready(context: AppContext) -> None:
    report(context, 0, "broken")
    report(context, 1, "broken")
    report(context, 2, lane="remote")
    now = readiness(context)
    assert not now.ready
    assert list(now.problems) == ["devices"]
    assert now.checks["devices"].startswith("0 of 2 devices work")
    assert "broken" not in now.checks["devices"], "the check is public"


def test_every_state_has_a_series(context: AppContext) -> None:
    assert set(samples(context, "workers")) == {(state,) for state in WORKER_STATES}


def test_the_documented_states_are_those() -> None:
    from app.api.schemas.queue import WorkerBody

    assert tuple(WorkerBody.model_fields["state"].annotation.__args__) == WORKER_STATES
