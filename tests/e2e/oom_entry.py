"""`python run.py` on a machine whose kernel has just killed a process for lack of memory."""

from __future__ import annotations

import sys

from app.cli.main import main
from app.process.oom import OomWatch

if __name__ == "__main__":
    OomWatch.has_killed = lambda _: True  # type: ignore[method-assign]
    sys.exit(main(["run"]))
