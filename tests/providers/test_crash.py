"""kill -9 of the remote worker between any two steps: no prediction is created twice or lost. The provider counts."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from app.core.job import JobStatus
from app.monitoring.failpoints import ENVIRONMENT_NAME, NAMES
from app.services.ops.maintenance import expire_leases
from tests.processes import Processes
from tests.providers.replicate_server import Script, StandIn
from tests.waiting import PATIENCE, wait_until
from tests.worker.conftest import hurried, processes  # noqa: F401 - fixtures
from tests.worker.harness import Harness

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("hurried")]

SHORT = {"LEASE_SECONDS": "1", "HEARTBEAT_SECONDS": "0.3"}
HOOKED = {"PUBLIC_URL": "http://127.0.0.1:9"}  # unused port: the webhooks are lost


def kill_at(where: str, harness: Harness, processes: Processes) -> None:  # noqa: F811
    """Run a worker process that dies at `where`."""
    armed = harness.environment | {ENVIRONMENT_NAME: f"{where}=kill"}
    process = processes.start("worker.py", "--lane", "remote", **armed)
    assert process.wait(60) == -signal.SIGKILL, processes.said()


@pytest.mark.parametrize(
    ("where", "more"),
    [*((name, {}) for name in NAMES), ("after_create", HOOKED)],
    ids=[*NAMES, "after_create, found by the webhook's address"],
)
def test_asked_once_and_delivered_once(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    processes: Processes,  # noqa: F811
    start_worker: Callable,
    where: str,
    more: dict[str, str],
) -> None:
    harness = new_harness(**settings, **SHORT, **more)
    provider.create("acme/painter", None, {"input": {"prompt": "another"}})
    provider.scripts["a boat"] = Script(seconds=1.0 if where == "mid_generation" else 0.1)
    job_id = harness.submit("a boat", model_id="painter")
    kill_at(where, harness, processes)
    start_worker(harness)
    (output,) = harness.completed(job_id).outputs
    made = provider.created_for("a boat")
    assert len(made) == 1
    assert made[0].input["seed"] == output.seed
    names = harness.files()
    if where in ("after_file_rename", "before_commit"):
        assert len(names) == 4, "what the dead one published has no row, and is swept in an hour"
    else:
        assert sorted(names) == sorted([output.path, output.thumbnail_path])


def test_a_failure_that_was_heard_of_before_the_crash_is_none_twice(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    processes: Processes,  # noqa: F811
    start_worker: Callable,
) -> None:
    harness = new_harness(**settings, **SHORT)
    provider.scripts["a boat"] = Script(ends="failed", error="it sank")
    job_id = harness.submit("a boat", model_id="painter")
    kill_at("after_ended", harness, processes)
    start_worker(harness)
    job = harness.ended(job_id).job
    assert (job.status, job.error_code, job.error_message) == (JobStatus.FAILED, "provider_error", "it sank")
    assert len(provider.created_for("a boat")) == 1


def test_twins_never_share_a_prediction(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    processes: Processes,  # noqa: F811
    start_worker: Callable,
) -> None:
    """Two jobs with the same input, both interrupted between the request and storing its answer."""
    harness = new_harness(**settings, **SHORT, REMOTE_CONCURRENCY="1")
    provider.echoes_webhooks = False
    provider.models["acme/painter"]["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"][
        "properties"
    ].pop("seed")
    jobs = [harness.submit("twin", model_id="painter") for _ in range(2)]
    for _ in jobs:
        kill_at("after_create", harness, processes)
    assert len(provider.created_for("twin")) == 2
    start_worker(harness)
    for job in jobs:
        harness.completed(job)
    wait_until(lambda: len(provider.created_for("twin")) == 2, "a third one")
    named = {harness.context.predictions.of_job(job).provider_id for job in jobs}
    assert len(named) == 2


@pytest.mark.slow
def test_killed_again_and_again(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    processes: Processes,  # noqa: F811
) -> None:
    """Twenty concurrent jobs, with workers that live for seconds and are killed at any moment."""
    chance = random.Random(5)
    patient = {"MAX_ATTEMPTS": "60", "REMOTE_TIMEOUT_SECONDS": "1800"}  # forty workers start meanwhile
    harness = new_harness(**settings | SHORT | patient)
    prompts = [f"job {number}" for number in range(20)]
    for prompt in prompts:
        provider.scripts[prompt] = Script(seconds=chance.uniform(0.1, 3), fetches=chance.choice([[], [503], ["cut"]]))
    jobs = [harness.submit(prompt, model_id="painter") for prompt in prompts]
    for _ in range(40):
        process = processes.start("worker.py", "--lane", "remote", **harness.environment)
        wait_until(lambda: harness.context.workers.live(), processes.said())
        time.sleep(chance.uniform(0.0, 2.5))
        process.kill()
        process.wait(PATIENCE)
        for worker in harness.context.workers.live():  # none, when its row has expired already
            harness.context.workers.remove(worker["id"])
        time.sleep(1.1)  # longer than a lease
        expire_leases(harness.context)
        if all(harness.view(job).job.status.terminal for job in jobs):
            break
    ended = [harness.view(job).job for job in jobs]
    assert {(job.status, job.error_message) for job in ended} == {(JobStatus.COMPLETED, None)}
    assert [len(harness.view(job).outputs) for job in jobs] == [1] * 20
    assert [len(provider.created_for(prompt)) for prompt in prompts] == [1] * 20
    assert provider.cancels == []
