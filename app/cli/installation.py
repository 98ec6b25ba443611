"""Opening the installation for a command, with its errors as sentences and exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from app.cli.common import EXIT_CONFIGURATION, EXIT_DAMAGED, EXIT_FAILED, EXIT_UNAVAILABLE
from app.config import load_settings
from app.errors import ConfigurationError, CyberImageError, DatabaseDamaged, DatabaseUnavailable
from app.process.os_limits import keep_files_private
from app.services.context import AppContext, open_context
from app.services.ops.private_files import protect_files
from app.store.db.database_file import set_aside


def run_command(work: Callable[[AppContext], None], failure_prefix: str = "") -> int:
    """Do `work` on the installation that the settings name, and return the exit status. An error is printed after
    `failure_prefix`."""
    keep_files_private()
    try:
        settings = load_settings()
        protect_files(settings)
        context = open_context(settings)
        work(context)
        context.close()
    except ConfigurationError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    except DatabaseDamaged as error:
        print(f"{failure_prefix}{error.detail}", file=sys.stderr)
        return EXIT_DAMAGED
    except DatabaseUnavailable as error:
        print(f"{failure_prefix}{error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except (CyberImageError, OSError) as error:
        print(f"{failure_prefix}{error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def set_database_aside() -> Path | None:
    """Rename the damaged file of SQLite, or what is left of a missing one, so that one can be made. Returns the new
    name, None with PostgreSQL."""
    path = load_settings().sqlite_path
    return None if path is None else set_aside(path)


def is_database_missing() -> bool:
    """Whether the file of SQLite is not there."""
    path = load_settings().sqlite_path
    return path is not None and not path.exists()
