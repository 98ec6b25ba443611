"""Clean up by command: what retention says, and files that belong to nothing. `python -m app.cli.cleanup --dry-run`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from app.cli.common import run_command
from app.services.context import AppContext
from app.services.ops.cleanup import clean_up
from app.store.db.vacuum import vacuum_and_analyze


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. It may run while the service does."""
    parser = argparse.ArgumentParser(prog="python -m app.cli.cleanup", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    dry_run = parser.parse_args(arguments).dry_run
    return run_command(lambda context: _clean_up(context, dry_run), "The clean-up could not finish: ")


def _clean_up(context: AppContext, dry_run: bool) -> None:
    report = clean_up(context, dry_run=dry_run)
    if not dry_run:
        vacuum_and_analyze(context.database)
        context.database.checkpoint()
    print("Would remove:" if report.dry_run else "Removed:")
    for name in ("images", "jobs", "orphans", "idempotency_keys"):
        print(f"  {name.replace('_', ' '):<17}{getattr(report, name):>12,}")
    print(f"  {'bytes':<17}{report.freed_bytes:>12,}")


if __name__ == "__main__":
    sys.exit(main())
