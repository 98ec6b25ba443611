"""Back the database and all pictures up to a new folder, while everything runs: `python -m app.cli.backup FOLDER`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli.common import run_command
from app.services.context import AppContext
from app.services.ops.backup import back_up


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.cli.backup", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; it must not exist yet, or be empty")
    folder: Path = parser.parse_args(arguments).folder
    return run_command(lambda context: _back_up(context, folder), "There is no backup: ")


def _back_up(context: AppContext, folder: Path) -> None:
    backup = back_up(context, folder.absolute())
    print(f"{folder}: the database and {backup.files:,} files, {backup.bytes:,} bytes of them.")
    print(f"Restore it with: python -m app.cli.restore {folder}")


if __name__ == "__main__":
    sys.exit(main())
