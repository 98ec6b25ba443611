"""Runs the device's test in a process of its own, which may crash or hang on a broken device."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from app.config import ROOT

TIMEOUT_SECONDS = 120.0  # importing torch may take long on a busy machine
_LOOK_EVERY_SECONDS = 0.1


def check_command(kind: str) -> Sequence[str]:
    return (sys.executable, "-m", "app.engines.diffusers.device_check", kind)


def run_device_test(command: Sequence[str], stopping: threading.Event) -> str | None:
    """Run `command`; returns what is wrong with the device, None when it works. Ends early when `stopping` is set."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        except OSError as error:
            return f"its test could not be started: {error.strerror}"
        give_up_at = time.monotonic() + TIMEOUT_SECONDS
        while process.poll() is None:
            if time.monotonic() >= give_up_at or stopping.wait(_LOOK_EVERY_SECONDS):
                process.kill()  # without waiting for it: a process in the driver's hands cannot be killed
                return f"its test did not end within {TIMEOUT_SECONDS:g} s"
        if process.returncode == 0:
            return None
        said.seek(0)
        lines = said.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"its test ended with exit status {process.returncode}"
