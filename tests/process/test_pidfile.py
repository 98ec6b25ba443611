"""The PID file is locked by the running process, so a stale one is ignored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import ROOT
from app.process.pidfile import FILE, hold_pidfile, running_pid, signal_process
from tests.waiting import PATIENCE

HOLD = "import sys, time; from pathlib import Path; from app.process.pidfile import hold_pidfile\n" + (
    "with hold_pidfile(Path(sys.argv[1])): print('here', flush=True); time.sleep(600)"
)


@pytest.fixture
def other(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.wait()


def test_no_running_process(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    assert signal_process(tmp_path, signal.SIGTERM, wait_seconds=5) is None


def test_a_running_process_is_found_signalled_and_waited_for(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert running_pid(tmp_path) == other.pid
    with hold_pidfile(tmp_path):  # a second one leaves the first one's file alone
        assert running_pid(tmp_path) == other.pid
    assert signal_process(tmp_path, signal.SIGTERM, wait_seconds=30) == other.pid
    assert other.wait(PATIENCE) == -signal.SIGTERM
    assert (tmp_path / FILE).exists()
    assert running_pid(tmp_path) is None


def test_a_stale_file_is_ignored(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert (tmp_path / FILE).read_text().strip() == str(other.pid)
    assert signal_process(tmp_path, signal.SIGTERM) is None


def test_a_process_that_does_not_end_raises_timeout_error(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(TimeoutError, match=str(other.pid)):
        signal_process(tmp_path, signal.SIGCONT, wait_seconds=0.5)
