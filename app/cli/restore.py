"""Restore a backup in the place of the present database: `python -m app.cli.restore FOLDER`. Stop the service first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli.common import EXIT_CONFIGURATION, EXIT_FAILED
from app.config import load_settings
from app.errors import ConfigurationError, DatabaseUnavailable
from app.process.os_limits import keep_files_private
from app.services.context import AppContext, open_context
from app.services.ops.backup import read, restore
from app.services.ops.private_files import protect_files
from app.store.db.migrate import check_known, migrate
from app.store.db.snapshot import SnapshotFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.cli.restore", description=__doc__)
    parser.add_argument("folder", type=Path, help="the backup")
    parser.add_argument("--replace", action="store_true", help="also when there are jobs already: they are lost")
    asked = parser.parse_args(arguments)
    folder: Path = asked.folder.absolute()
    keep_files_private()
    try:
        settings = load_settings()
        protect_files(settings)
        check_known(read(folder).revision)
        context = open_context(settings)
        _refuse_to_destroy(context, replace=asked.replace)
        backup, missing = restore(context, folder)
        migrate(context.database)  # a backup of an older version
        context.close()
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (SnapshotFailed, DatabaseUnavailable, OSError) as error:
        print(f"Nothing was restored: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"Restored the state of {backup.created_at}: the database and {backup.files:,} files.")
    if missing:
        print(f"{missing:,} pictures were removed while that backup was made; they are marked as gone.")
    return 0


def _refuse_to_destroy(context: AppContext, *, replace: bool) -> None:
    """Raises ConfigurationError when workers live, or when there is something that would be lost."""
    if context.workers.live():
        raise ConfigurationError(["Workers are running. Stop the service first, then restore."])
    if not replace and any(context.jobs.counts().values()):
        raise ConfigurationError(["The present database has jobs. Back it up, then restore with --replace."])


if __name__ == "__main__":
    sys.exit(main())
