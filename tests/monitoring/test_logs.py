"""The log files: complete lines with any number of processes, at most 1 MB each and five old ones, text or JSON."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import ROOT, load_settings
from app.monitoring.logs import configure_logging

PROCESSES, LINES = 4, 4000  # of about 500 bytes: 8 MB, more than the six files hold
WRITE = """
import logging, sys, time
from app.config import load_settings
from app.monitoring.logs import configure_logging
configure_logging(load_settings(env_file=None), sys.argv[1])
log = logging.getLogger("cyberimage.test")
log.parent.handlers = [handler for handler in log.parent.handlers if type(handler) is not logging.StreamHandler]
time.sleep(max(0.0, float(sys.argv[3]) - time.time()))  # all at once
for number in range(int(sys.argv[2])):
    log.info("%s %05d %s", sys.argv[1], number, "x" * 400)
"""


@pytest.fixture
def quiet() -> Iterator[None]:
    """Remove the handlers again."""
    logger = logging.getLogger("cyberimage")
    before = logger.propagate, logger.level
    yield
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    logger.propagate, _ = before
    logger.setLevel(before[1])


def settings(folder: Path, **environment: str):
    return load_settings({"LOG_DIR": str(folder), **environment}, env_file=None)


def test_many_processes_write_whole_lines_and_the_files_rotate(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LOG_DIR": str(tmp_path), "LOG_FORMAT": "json"}
    begin = str(time.time() + 2.0)
    started = [
        subprocess.Popen([sys.executable, "-c", WRITE, f"p{number}", str(LINES), begin], cwd=ROOT, env=environment)
        for number in range(PROCESSES)
    ]
    assert [process.wait(120) for process in started] == [0] * PROCESSES
    files = sorted(path for path in tmp_path.iterdir() if path.name.startswith("app.log"))
    assert [path.name for path in files] == ["app.log", *(f"app.log.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 1_000_000 + 1_000 for path in files)  # the last line may reach over
    assert all(path.stat().st_size >= 1_000_000 - 1_000 for path in files[1:])  # each was full when it was put away
    seen: dict[str, list[int]] = {}
    for path in reversed(files):  # the oldest first
        for line in path.read_text().splitlines():
            name, number, filling = json.loads(line)["message"].split()
            assert filling == "x" * 400
            seen.setdefault(name, []).append(int(number))
    for numbers in seen.values():  # in order, none missing from the first one that is still there
        assert numbers == list(range(numbers[0], LINES))


def test_each_file_holds_its_own(tmp_path: Path, quiet: None) -> None:
    configure_logging(settings(tmp_path), "worker")
    logging.getLogger("cyberimage.models.demo").info("loaded")
    logging.getLogger("cyberimage.worker").error("failed", extra={"job_id": "j1"})
    try:
        raise ValueError("told to the log")
    except ValueError:
        logging.getLogger("cyberimage.worker").exception("broke")
    app, errors, models = ((tmp_path / f"{name}.log").read_text() for name in ("app", "errors", "models"))
    assert "loaded" in app
    assert "failed" in app
    assert "loaded" not in errors
    assert f"ERROR   worker[{os.getpid()}] failed [job_id=j1]" in errors
    assert "ValueError: told to the log" in errors
    assert [line.split("] ", 1)[1] for line in models.splitlines()] == ["loaded"]


def test_json_lines_carry_their_context(tmp_path: Path, quiet: None) -> None:
    configure_logging(settings(tmp_path, LOG_FORMAT="json"), "api")
    logging.getLogger("cyberimage.access").warning("slow", extra={"job_id": "j1", "request_id": "r1"})
    line = json.loads((tmp_path / "app.log").read_text())
    expected = {"level": "WARNING", "logger": "cyberimage.access", "message": "slow", "role": "api", "pid": os.getpid()}
    assert expected.items() <= line.items()
    assert (line["job_id"], line["request_id"]) == ("j1", "r1")
    assert line["time"].endswith(("Z", "+00:00"))


def test_the_level_is_a_setting(tmp_path: Path, quiet: None) -> None:
    configure_logging(settings(tmp_path, LOG_LEVEL="WARNING"), "api")
    logging.getLogger("cyberimage.worker").info("chatter")
    logging.getLogger("cyberimage.worker").warning("news")
    assert "news" in (tmp_path / "app.log").read_text()
    assert "chatter" not in (tmp_path / "app.log").read_text()


def test_the_highest_level_keeps_errors_out(tmp_path: Path, quiet: None) -> None:
    configure_logging(settings(tmp_path, LOG_LEVEL="CRITICAL"), "api")
    logging.getLogger("cyberimage.worker").error("an error")
    logging.getLogger("cyberimage.worker").critical("the end")
    written = (tmp_path / "app.log").read_text()
    assert "the end" in written
    assert "an error" not in written
