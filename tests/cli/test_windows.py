"""On Windows the commands that start processes say where CyberImage runs, instead of a missing module."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.cli.main import main
from app.config import ROOT

ON_WINDOWS = """
import builtins, runpy, sys
sys.platform = "win32"
sys.path.insert(0, ".")
plain = builtins.__import__

def without_fcntl(name, *arguments, **more):
    if name == "fcntl":
        raise ModuleNotFoundError("No module named 'fcntl'")
    return plain(name, *arguments, **more)

builtins.__import__ = without_fcntl
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("command", [["run.py"], ["worker.py"]])
def test_windows_is_told_where_cyberimage_runs(command) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert shown.stderr.strip() == "CyberImage runs on Linux and macOS. On Windows, run it in WSL2, GPUs included."


def test_the_command_says_so_too(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="On Windows, run it in WSL2"):
        main(["status"])
