"""A forked process is what a started one is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fork_server.client import ForkedProcess, can_fork
from tests.processes import Processes
from tests.waiting import wait_until

PROBE = ("-m", "tests.fork_server.probe")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only"),
]


def found(folder: Path, *, afresh: bool) -> dict[str, object]:
    folder.mkdir()
    process = Processes(folder, afresh=afresh).start(*PROBE, "7", COLOUR="red")
    assert isinstance(process, ForkedProcess) is not afresh
    assert process.wait(60) == 7
    said = json.loads((folder / "process-0.txt").read_text())
    del said["files"][said["files"].index(str(folder / "process-0.txt"))]
    return said | {"files": [name.replace(str(folder), "") for name in said["files"]]}


def test_it_finds_what_a_started_one_finds(tmp_path: Path) -> None:
    forked, started = (found(tmp_path / name, afresh=name == "started") for name in ("forked", "started"))
    assert forked == started
    assert started["arguments"] == ["7"]
    assert started["environment"]["COLOUR"] == "red"


def test_it_can_be_waited_for_and_is_ended_by_signals(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    process = processes.start(*PROBE, "wait")
    wait_until(processes.said, "it said nothing")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.terminate()
    assert process.wait(60) == process.poll() == -signal.SIGTERM
    processes.close()


@pytest.mark.parametrize("environment", [{"HF_HOME": "/x"}, {"TMPDIR": "/x"}, {"OMP_NUM_THREADS": "2"}])
def test_what_libraries_read_when_they_are_imported_is_not_ignored(environment: dict[str, str]) -> None:
    assert can_fork(("run.py",), {"PORT": "1", "OMP_NUM_THREADS": "1"})
    assert not can_fork(("run.py",), environment)
