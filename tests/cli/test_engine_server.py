"""The process that runs an engine server: it ends all that the server has started, whatever ends itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app.cli.engine_server import EXIT_NOT_STARTED, environment_for
from app.config import load_settings
from app.process import parent_watch
from tests.waiting import wait_until

# A server with a worker of its own, which heeds no SIGTERM; their process ids go to a file.
SERVER = """
import os, signal, subprocess, sys, time
worker = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    def run(command: str, **more: object) -> subprocess.Popen[bytes]:
        options = {"server": {"kind": "sglang", "url": "http://127.0.0.1:9/v1", "command": command, "gpus": 0}}
        environment = {
            **os.environ,
            "MODEL_FAR": f"far;x/y;Far;engine;false;{json.dumps(options)}",
            "LOG_DIR": str(tmp_path / "logs"),
            "SHUTDOWN_GRACE_SECONDS": "1",
            **more.pop("environment", {}),  # type: ignore[dict-item]
        }
        return subprocess.Popen([sys.executable, "-m", "app.cli.engine_server", "far"], env=environment, **more)  # type: ignore[call-overload]

    return run


@pytest.fixture
def command(tmp_path: Path) -> str:
    (tmp_path / "server.py").write_text(SERVER)
    return f"{sys.executable} {tmp_path / 'server.py'} {tmp_path / 'pids'}"


def pids_in(folder: Path) -> list[int]:
    wait_until(lambda: (folder / "pids").exists(), "the server did not start")
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def all_ended(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_a_stop_ends_the_server_and_all_that_it_started(start, command: str, tmp_path: Path) -> None:
    runner = start(command)
    pids = pids_in(tmp_path)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(60) == 0
    assert all_ended(pids)


def test_a_server_that_dies_is_cleared_away_and_started_again_by_who_started_this(
    start, command: str, tmp_path: Path
) -> None:
    runner = start(command)
    pids = pids_in(tmp_path)
    os.kill(pids[0], signal.SIGKILL)
    runner.wait(60)
    assert all_ended(pids)


def test_it_ends_with_the_supervisor_however_that_ends(start, command: str, tmp_path: Path) -> None:
    watched, held = os.pipe()
    runner = start(command, environment={parent_watch.ENVIRONMENT_NAME: str(watched)}, pass_fds=[watched])
    os.close(watched)
    pids = pids_in(tmp_path)
    os.close(held)
    runner.wait(60)
    assert all_ended(pids)


def test_a_command_that_is_not_there_is_told(start) -> None:
    runner = start("/nowhere/sglang serve", stderr=subprocess.PIPE)
    _, told = runner.communicate(timeout=60)
    assert runner.returncode == EXIT_NOT_STARTED
    assert b"The engine server of far cannot be started: /nowhere/sglang" in told


def test_it_is_not_told_our_secrets() -> None:
    settings = load_settings({}, env_file=None)
    ours = {"OPENAI_API_KEY": "sk", "DATABASE_URL": "x", "HF_TOKEN": "hf", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "3"}
    assert environment_for(settings, ours) == {"HF_TOKEN": "hf", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "3"}
