"""`python run.py` whose local workers have a device that breaks on demand: python -m tests.e2e.device.run_entry"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from app.cli import run
from app.cli.supervisor import Child, children_of


def with_broken_workers(*arguments: Any, **named: Any) -> Sequence[Child]:
    children = children_of(*arguments, **named)
    for child in children:
        if child.name.startswith("worker"):
            child.command = (sys.executable, "-m", "tests.e2e.device.worker_entry")
    return children


if __name__ == "__main__":
    run.children_of = with_broken_workers  # type: ignore[assignment]
    sys.exit(run.main([]))
