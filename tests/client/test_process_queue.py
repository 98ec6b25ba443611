"""Drawing the queue in one's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from app.cli import worker as worker_command
from app.config import ROOT
from app.core.job import JobStatus
from app.worker.loop import Worker
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness
from tools.tiny_models.build import build

SMALL = '{"defaults": {"width": 64, "height": 64}}'


def test_a_worker_can_end_with_the_queue(harness: Harness, engine: FakeEngine) -> None:
    job_ids = [harness.submit(f"boat {number}") for number in range(3)]
    worker = Worker(harness.context, {"local": lambda: engine}, "cpu")
    assert worker.run(until_idle=True) is False
    assert {harness.view(job_id).job.status for job_id in job_ids} == {JobStatus.COMPLETED}
    assert worker.jobs_run == 3


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_umask_is_as_before(
    fails: bool, new_harness: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ | new_harness(DEVICE="cpu", FILE_MODE="group").environment)
    during = []

    class Drawing:
        device_failed, jobs_run = False, 3

        def run(self, *, until_idle: bool) -> None:
            during.append(umask_now())
            if fails:
                raise MemoryError

    monkeypatch.setattr(worker_command, "_local_worker", lambda *_: Drawing())
    before = os.umask(0o022)
    try:
        with pytest.raises(MemoryError) if fails else nullcontext():
            assert worker_command.process_waiting() == 3
        assert (during, umask_now()) == ([0o007], 0o022)
    finally:
        os.umask(before)


def umask_now() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


@pytest.mark.slow
@pytest.mark.parametrize("way", ["function", "command"])
def test_the_queue_is_drawn_without_a_service(way: str, new_harness: Callable[..., Harness], tmp_path: Path) -> None:
    line = f"tiny;{build('flux', tmp_path)};Tiny;local;false;{SMALL}"
    harness = new_harness(MODEL_TINY=line, DEFAULT_MODEL_ID="tiny", DEVICE="cpu", CPU_THREADS="1", PRELOAD="none")
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
