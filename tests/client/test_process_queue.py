"""Drawing the queue in one's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.config import ROOT
from app.core.job import JobStatus
from app.worker.loop import Worker
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness
from tools.tiny_models.build import build


def test_a_worker_can_end_with_the_queue(harness: Harness, engine: FakeEngine) -> None:
    job_ids = [harness.submit(f"boat {number}") for number in range(3)]
    worker = Worker(harness.context, {"local": lambda: engine}, "cpu")
    assert worker.run(until_idle=True) is False
    assert {harness.view(job_id).job.status for job_id in job_ids} == {JobStatus.COMPLETED}
    assert worker.jobs_run == 3


@pytest.mark.slow
@pytest.mark.parametrize("way", ["function", "command"])
def test_the_queue_is_drawn_without_a_service(way: str, new_harness: Callable[..., Harness], tmp_path: Path) -> None:
    line = f"tiny;{build('flux', tmp_path)};Tiny;local;false"
    harness = new_harness(MODEL_TINY=line, DEFAULT_MODEL_ID="tiny", DEVICE="cpu", CPU_THREADS="1")
    job_ids = [harness.submit(f"boat {number}", model_id="tiny") for number in range(2)]
    program = {
        "function": ["-c", "import cyberimage; print('ran', cyberimage.process_queue())"],
        "command": ["worker.py", "--once"],
    }[way]
    done = subprocess.run(
        [sys.executable, *program], cwd=ROOT, env=os.environ | harness.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {harness.view(job_id).job.status for job_id in job_ids} == {JobStatus.COMPLETED}
    assert way == "command" or "ran 2" in done.stdout
