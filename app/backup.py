"""Back the database and all pictures up to a new folder, while everything runs: `python -m app.backup FOLDER`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.config import load_settings
from app.errors import ConfigurationError, DatabaseUnavailable
from app.services.backup import back_up
from app.services.installation import open_installation
from app.store.snapshot import SnapshotFailed

EXIT_FAILED, EXIT_CONFIGURATION = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.backup", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; it must not exist yet, or be empty")
    folder: Path = parser.parse_args(arguments).folder
    try:
        installation = open_installation(load_settings())
        backup = back_up(installation, folder.absolute())
        installation.close()
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (SnapshotFailed, DatabaseUnavailable, OSError) as error:
        print(f"There is no backup: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{folder}: the database and {backup.files:,} files, {backup.bytes:,} bytes of them.")
    print(f"Restore it with: python -m app.restore {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
