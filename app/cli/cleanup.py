"""`cyberimage cleanup`: apply retention and delete orphan files now."""

from __future__ import annotations

import click

from app.cli.common import json_option, print_json
from app.cli.installation import run_command
from app.services.context import AppContext
from app.services.ops.cleanup import clean_up
from app.store.db.vacuum import vacuum_and_analyze

PREFIX = "The clean-up could not finish: "


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def command(dry_run: bool, as_json: bool) -> int:
    """Remove what the settings RETENTION_* say, and orphaned files. The service may run meanwhile."""
    return run_command(lambda context: _clean_up(context, dry_run, as_json), PREFIX)


def _clean_up(context: AppContext, dry_run: bool, as_json: bool) -> None:
    report = clean_up(context, dry_run=dry_run)
    if not dry_run:
        vacuum_and_analyze(context.database)
        context.database.checkpoint()
    if as_json:
        print_json(vars(report))
        return
    print("Would remove:" if report.dry_run else "Removed:")
    for name in ("images", "jobs", "orphans", "idempotency_keys"):
        print(f"  {name.replace('_', ' '):<17}{getattr(report, name):>12,}")
    print(f"  {'bytes':<17}{report.freed_bytes:>12,}")
