"""Jobs with their pictures in a bucket: while its service is away they wait; nothing is lost or stored twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from app.core.backoff import Backoff
from app.core.job import JobStatus
from app.services.ops.cleanup import clean_up
from app.services.ops.orphans import sweep_orphans
from tests.processes import Processes
from tests.s3_service import FaultyProxy, S3Server
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def harness(new_harness: Callable[..., Harness], s3_server: S3Server, s3_proxy: FaultyProxy, bucket: str) -> Harness:
    return new_harness(**s3_server.environment(bucket, s3_proxy.url))


def test_pictures_are_stored_and_removed(
    harness: Harness, engine: FakeEngine, s3_server: S3Server, bucket: str
) -> None:
    harness.start(engine)
    job_id = harness.submit(num_images=2)
    harness.completed(job_id)
    outputs = harness.context.outputs.of_job(job_id)
    assert s3_server.keys(bucket) == sorted(name for one in outputs for name in (one.path, one.thumbnail_path))
    assert harness.files() == []
    for one in outputs:
        assert hashlib.sha256(harness.context.images.read(one.path)).hexdigest() == one.sha256
    assert sweep_orphans(harness.context, 0.0) == (0, 0)
    for one in outputs:
        harness.context.outputs.remove(one.id)
    count, freed = sweep_orphans(harness.context, -60.0)
    assert count == 4
    assert freed > sum(one.bytes for one in outputs)
    assert s3_server.keys(bucket) == []


def test_jobs_wait_while_the_store_is_away(
    harness: Harness,
    engine: FakeEngine,
    s3_server: S3Server,
    s3_proxy: FaultyProxy,
    bucket: str,
    hurried: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.worker.storage_pause.PAUSE", Backoff(0.05, 0.05))
    monkeypatch.setattr(harness.context.images, "_patience", 0.3)
    s3_proxy.away.set()
    job_ids = [harness.submit(f"boat {index}") for index in range(6)]
    harness.start(engine)
    wait_until(lambda: any(harness.view(job_id).job.error_code for job_id in job_ids), "no job met the fault")
    probed = len(s3_proxy.requests) + 10
    wait_until(lambda: len(s3_proxy.requests) > probed, "the store was not probed")
    jobs = [harness.view(job_id).job for job_id in job_ids]
    assert {job.status for job in jobs} <= {JobStatus.PENDING, JobStatus.PROCESSING}
    assert sum(job.attempt for job in jobs) <= 3, "jobs were claimed in a loop"  # one drawn, one queued, one stored
    s3_proxy.away.clear()
    for job_id in job_ids:
        harness.completed(job_id)
    assert len(s3_server.keys(bucket)) == 12
    assert sum(len(harness.context.outputs.of_job(job_id)) for job_id in job_ids) == 6


@pytest.mark.parametrize("fault", ["lost", "slow_down", "dead"])
def test_an_answer_that_is_lost_stores_nothing_twice(
    harness: Harness, engine: FakeEngine, s3_server: S3Server, s3_proxy: FaultyProxy, bucket: str, fault: str
) -> None:
    s3_proxy.faults.extend([("PUT", fault), ("PUT", fault)])
    harness.start(engine)
    job_id = harness.submit()
    harness.completed(job_id)
    assert not s3_proxy.faults
    (output,) = harness.context.outputs.of_job(job_id)
    clean_up(harness.context)
    assert s3_server.keys(bucket) == sorted((output.path, output.thumbnail_path))


def test_files_that_cannot_be_removed_are_left_to_the_sweep(
    harness: Harness,
    engine: FakeEngine,
    s3_server: S3Server,
    s3_proxy: FaultyProxy,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.services.media import gallery

    harness.start(engine)
    job_id = harness.submit()
    harness.completed(job_id)
    (output,) = harness.context.outputs.of_job(job_id)
    monkeypatch.setattr("app.files.s3.store.READ_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("app.files.s3.store.AWAY_SECONDS", 0.0)  # else the sweep would have to wait
    s3_proxy.faults.append(("DELETE", "dead"))
    gallery.remove(harness.context, output.id)
    assert len(s3_server.keys(bucket)) > 0
    assert harness.context.outputs.of_job(job_id) == []
    sweep_orphans(harness.context, -60.0)
    assert s3_server.keys(bucket) == []


@pytest.mark.parametrize("place", ["after_file_rename", "before_commit", "after_commit"])
def test_a_worker_that_dies_between_the_objects_and_the_rows(
    new_harness: Callable[..., Harness], s3_server: S3Server, bucket: str, processes: Processes, place: str
) -> None:
    """The job is done once; what the dead worker stored without a row is swept."""
    harness = new_harness(**s3_server.environment(bucket))
    job_id = harness.submit()
    killed = processes.start_worker(harness.environment | {"CYBERIMAGE_FAILPOINTS": f"{place}=kill:1"})
    assert killed.wait(PATIENCE) == -9, processes.said()
    assert len(s3_server.keys(bucket)) == 2
    harness.record_death(killed.pid)
    processes.start_worker(harness.environment)
    harness.completed(job_id)
    (output,) = harness.context.outputs.of_job(job_id)
    assert len(s3_server.keys(bucket)) == (2 if place == "after_commit" else 4)
    sweep_orphans(harness.context, -60.0)
    assert s3_server.keys(bucket) == sorted((output.path, output.thumbnail_path))
    assert hashlib.sha256(harness.context.images.read(output.path)).hexdigest() == output.sha256
