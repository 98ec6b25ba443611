"""A successful job: rows, files, metadata and progress."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
from PIL import Image

from app.core.job import JobStatus, Phase
from app.files.metadata import read_manifest
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, Gate, picture
from tests.worker.harness import Harness


def test_a_job_becomes_pictures_with_rows_files_and_metadata(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    seen = harness.completed(harness.submit("two boats", num_images=2))
    job = seen.job
    assert (job.status, job.attempt, job.progress.percent, job.error_code) == (JobStatus.COMPLETED, 1, 100, None)
    assert job.completed_at is not None
    assert job.started_at is not None
    assert {"queued", Phase.GENERATING.value, Phase.SAVING.value} <= job.timings.keys()
    assert [output.seed for output in seen.outputs] == [job.request.seed, job.request.seed + 1]
    assert harness.files() == sorted([name for o in seen.outputs for name in (o.path, o.thumbnail_path)])
    for output in seen.outputs:
        path = harness.context.images.path(output.path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == output.sha256
        assert path.stat().st_size == output.bytes
        assert np.array_equal(np.asarray(Image.open(path)), picture(output.seed).pixels)
        manifest = read_manifest(path)
        assert manifest == output.manifest
        assert manifest["prompt"] == "two boats"
        assert manifest["settings"]["seed"] == output.seed


def test_progress_and_the_workers_row_are_written_while_it_runs(harness: Harness, engine: FakeEngine) -> None:
    gate = engine.behaviours["a boat"] = Gate(Phase.ENCODING)
    running = harness.start(engine)
    job_id = harness.submit()
    gate.wait()
    seen = harness.until(job_id, lambda view: view.job.progress.phase is Phase.ENCODING)
    assert seen.job.status is JobStatus.PROCESSING
    assert seen.job.worker_id == running.worker.id
    wait_until(lambda: [w["job_id"] for w in harness.context.workers.live()] == [job_id], "no busy worker to see")
    gate.opened.set()
    harness.completed(job_id)
    wait_until(
        lambda: [[m["model_id"] for m in w["models"]] for w in harness.context.workers.live()] == [["fake"]],
        "the loaded model never showed",
    )
    running.stop()
    assert harness.context.workers.live() == []
    assert running.recycled is False


def test_the_engine_is_used_by_one_thread(harness: Harness) -> None:
    """Its models come and go while it works: reading them from another thread, such as the heartbeat, would fail."""
    threads = set()

    class OneThreadEngine(FakeEngine):
        def generate(self, *arguments):
            threads.add(threading.get_ident())
            return super().generate(*arguments)

        def resident(self):
            threads.add(threading.get_ident())
            return super().resident()

    running = harness.start(OneThreadEngine(step_seconds=0.2))
    for _ in range(2):
        harness.completed(harness.submit())
    running.stop()
    assert len(threads) == 1


def test_the_next_job_generates_while_the_last_one_is_saved(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    saving, may_save = Gate(), []
    publish = harness.context.images.publish

    def slow_publish(files):
        if not may_save:
            saving.reached.set()
            assert saving.opened.wait(PATIENCE)
        publish(files)

    monkeypatch.setattr(harness.context.images, "publish", slow_publish)
    second_begins = engine.behaviours["second"] = Gate()
    harness.start(engine)
    first, second = harness.submit("first"), harness.submit("second")
    saving.wait()
    second_begins.wait()  # while the first is still being saved
    assert harness.until(first, lambda view: view.job.progress.phase is Phase.SAVING).job.status is JobStatus.PROCESSING
    may_save.append(True)
    saving.opened.set()
    second_begins.opened.set()
    harness.completed(first)
    harness.completed(second)
