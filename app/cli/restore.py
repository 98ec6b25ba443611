"""`cyberimage restore`: put a backup in the place of the present database and pictures."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.common import EXIT_DAMAGED, EXIT_UNAVAILABLE
from app.cli.installation import is_database_missing, run_command, set_database_aside
from app.errors import ConfigurationError
from app.services.context import AppContext
from app.services.ops.backup import read, restore
from app.store.db.migrate import check_known, migrate


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Also when there are jobs already: they are lost.")
def command(folder: Path, replace: bool) -> int:
    """Restore the backup in FOLDER. Stop the service first."""
    status = _run(folder, replace)
    is_missing = status == EXIT_UNAVAILABLE and is_database_missing()
    if replace and (status == EXIT_DAMAGED or is_missing) and (aside := set_database_aside()):
        print(f"What was left of the database is now at {aside}.")
        status = _run(folder, replace)
    return status


def _run(folder: Path, replace: bool) -> int:
    return run_command(lambda context: _restore(context, folder.absolute(), replace), "Nothing was restored: ")


def _restore(context: AppContext, folder: Path, replace: bool) -> None:
    check_known(read(folder).revision)
    _refuse_to_destroy(context, replace=replace)
    backup, missing = restore(context, folder)
    migrate(context.database)  # a backup of an older version
    print(f"Restored the state of {backup.created_at}: the database and {backup.files:,} files.")
    if missing:
        print(f"{missing:,} pictures were removed while that backup was made; they are marked as gone.")


def _refuse_to_destroy(context: AppContext, *, replace: bool) -> None:
    """Raises ConfigurationError when workers live, or when there is something that would be lost."""
    if context.workers.live():
        raise ConfigurationError(["Workers are running. Stop the service first, then restore."])
    if not replace and any(context.jobs.counts().values()):
        raise ConfigurationError(["The present database has jobs. Back it up, then restore with --replace."])
