"""A real worker with the real engine, on a device that fails as the file DEVICE_SWITCH says.

`third`: from the third picture of a process on, each one raises a sticky error. `dead`: each one does, and the device
fails its test. No file: it works. As a process that tests the device: python -m tests.e2e.device.worker_entry cpu
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

TEXT = "CUDA error: an illegal memory access was encountered"


def switch() -> str:
    file = Path(os.environ["DEVICE_SWITCH"])
    return file.read_text() if file.exists() else ""


def test_device(kind: str) -> int:
    from app.engines.diffusers import device_check

    if switch() == "dead":
        sys.stdout.write(f"{TEXT}\n")
        return 1
    return device_check.main([kind])


def work() -> int:
    from app.cli.worker import main
    from app.worker import device

    device.TEST_PAUSE_SECONDS = 1.0
    return main(make_factories, command_of=lambda kind: (sys.executable, "-m", "tests.e2e.device.worker_entry", kind))


def make_factories(settings: Any) -> Any:
    from app.engines.registry import engine_factories

    return {source: lambda make=make: patched(make()) for source, make in engine_factories(settings).items()}


def patched(made: Any) -> Any:
    """The engine, whose pipelines raise as the switch says."""
    from app.engines.diffusers import pipeline_runner

    if not hasattr(pipeline_runner, "drawn"):
        pipeline_runner.drawn, draw = 0, pipeline_runner.generate  # type: ignore[attr-defined]

        def generate(*arguments: Any, **named: Any) -> Any:
            pipeline_runner.drawn += 1  # type: ignore[attr-defined]
            if switch() == "dead" or (switch() == "third" and pipeline_runner.drawn > 2):  # type: ignore[attr-defined]
                raise RuntimeError(TEXT)
            return draw(*arguments, **named)

        pipeline_runner.generate = generate
    return made


if __name__ == "__main__":
    sys.exit(test_device(sys.argv[1]) if sys.argv[1:] else work())
