"""Clients of server-sent events read a job's stream to its end: the programs of docs/CLIENTS.md, run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients.documented import example
from tests.e2e.service import Service
from tests.node.packages import require_packages, run_node

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
STEPS, SIDE = 20, 512  # long enough for events before the end


@pytest.fixture
def job_id(demo_service: Service) -> str:
    return demo_service.submit("a red boat", "demo", num_inference_steps=STEPS, width=SIDE, height=SIDE)


def check_events(said: str) -> None:
    """Each event had JSON, none was without a name, and the last one told the end."""
    events = [line.split() for line in said.splitlines()]
    assert {name for name, _ in events} <= {"status", "progress", "preview"}
    assert "progress" in [name for name, _ in events]
    assert events[-1] == ["status", "COMPLETED"]
    assert [status for _, status in events].count("COMPLETED") == 1


@pytest.mark.parametrize("client", ["httpx-sse", "sseclient-py"])
def test_python(url: str, job_id: str, client: str) -> None:
    program = example(f"Python: {client}", "python", url).replace("<job_id>", job_id)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    check_events(done.stdout)


def test_javascript(url: str, job_id: str, tmp_path: Path) -> None:
    require_packages()
    program = example("JavaScript: eventsource", "js", url).replace("<job_id>", job_id)
    (tmp_path / "follow.mjs").write_text(program)
    done = run_node("follow.mjs", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check_events(done.stdout)
