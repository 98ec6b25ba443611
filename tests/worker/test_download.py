"""A job whose model is downloaded: its progress is reported, and a cancel stops it."""

from __future__ import annotations

import time

from app.core.job import JobStatus, Phase
from app.engines.base import Control
from app.errors import Cancelled
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


def test_bytes_are_reported_and_a_cancel_stops_it(harness: Harness) -> None:
    def download(control: Control) -> None:
        control.report(Phase.DOWNLOADING)
        control.downloaded(1_200_000_000, 34_000_000_000)
        while not control.cancelled():
            time.sleep(0.01)
        raise Cancelled

    engine = FakeEngine()
    engine.behaviours["large"] = download
    harness.start(engine)
    job_id = harness.submit("large")
    wait_until(lambda: harness.view(job_id).job.progress.total_bytes, "no bytes were reported")
    progress = harness.view(job_id).job.progress
    assert (progress.phase, progress.downloaded_bytes) == (Phase.DOWNLOADING, 1_200_000_000)
    harness.context.jobs.cancel(job_id)
    wait_until(lambda: harness.view(job_id).job.status is JobStatus.CANCELLED, "it was not stopped")
