"""Runs a file of cases in a separate process against a hub: huggingface_hub reads its settings at import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.config import ROOT
from tests.engines.diffusers.load.hub_server import HubServer


def run_cases(module: str, folder: Path, hub: HubServer, **environment: str) -> dict[str, Any]:
    """What `module` printed, as JSON, and under "asked" which paths the hub was asked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        env=kept | own | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout), "asked": list(hub.requests)}


def shorten_retries() -> None:
    """For the process of the cases: huggingface_hub pauses for 23 s in all before it gives a hub up."""
    from huggingface_hub.utils import _http

    _http.time = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.02)))  # type: ignore[attr-defined]
