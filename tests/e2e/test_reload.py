"""SIGHUP to run.py: every process applies reloadable settings, none exits, and an invalid file has no effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from app.config import ROOT
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run_py(service, option: str) -> int:
    environment = {**os.environ, **service.environment}
    return subprocess.run([sys.executable, "run.py", option], cwd=ROOT, env=environment).returncode


def test_settings_change_while_everything_runs(new_service, tmp_path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("PROMPT_MAX_CHARS=10\nRATE_LIMIT_READ=1000 per minute\n")
    service = new_service(ENV_FILE=str(file))
    service.start()
    family = {process.pid for process in service.family()}
    log = tmp_path / "logs" / "app.log"

    def prompt_of_twenty() -> int:
        return service.client.post("/api/generate", json={"prompt": "x" * 20}).status_code

    assert prompt_of_twenty() == 400
    job = service.client.post("/api/generate", json={"prompt": "x"}).json()
    with service.client.stream("GET", job["events_url"]) as stream:  # it must not break
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:"))
        file.write_text(
            "PROMPT_MAX_CHARS=30\nRATE_LIMIT_READ=2000 per minute\nMODEL_IDLE_SECONDS=1\nHEARTBEAT_SECONDS=4\n"
        )
        finished = subprocess.run(
            [sys.executable, "run.py", "--reload"], cwd=ROOT, env={**os.environ, **service.environment}
        )
        assert finished.returncode == 0
        wait_until(lambda: prompt_of_twenty() == 202, "the API did not hear of it")
        wait_until(lambda: log.read_text().count("MODEL_IDLE_SECONDS is now 1.0") == 2, "the worker did not hear of it")
        assert any("COMPLETED" in line for line in lines)
    assert service.client.get("/api/models").headers["X-RateLimit-Limit"] == "2000"
    assert "HEARTBEAT_SECONDS changed; it takes effect at the next start" in log.read_text()
    wait_until(lambda: "has been idle for 1 s" in log.read_text(), "the model was kept")

    file.write_text("PROMPT_MAX_CHARS=none\n")
    service.run.send_signal(signal.SIGHUP)
    wait_until(lambda: log.read_text().count("The settings were not reloaded") == 2, "no error was logged")
    assert prompt_of_twenty() == 202
    assert {process.pid for process in service.family()} == family
    assert run_py(service, "--stop") == 0
    assert service.run.wait(PATIENCE) == 0
