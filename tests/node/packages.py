"""The packages of tests/node/package.json, which `make test` installs by npm, and the programs in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.config import ROOT

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules"
OLDEST_NODE = (20, 19)
SECONDS = 180
QUIET = {"NO_COLOR": "1", "REDOCLY_TELEMETRY": "off"}


def require_packages() -> None:
    """Skip the test where Node is missing or too old, or the packages are not installed."""
    if shutil.which("node") is None:
        pytest.skip("TESTS WITH NODE SKIPPED: node is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_NODE:
        pytest.skip(
            f"TESTS WITH NODE SKIPPED: node is {version.strip()}, not {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or newer"
        )
    if not (PACKAGES / "installed.json").exists():
        pytest.skip("TESTS WITH NODE SKIPPED: tests/node is not installed (tools/install_client_tools.sh)")


def run_program(name: str, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of a package in `folder`."""
    return run_node(str((PACKAGES / ".bin" / name).resolve()), *arguments, folder=folder, **environment)


def run_node(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `node` in `folder`; what lies in a temporary folder can import the packages, too."""
    if not folder.is_relative_to(ROOT) and not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(PACKAGES)
    return subprocess.run(
        ["node", *arguments],
        cwd=folder,
        env=_inherited() | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _inherited() -> Mapping[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ} | QUIET
