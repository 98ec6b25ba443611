"""`cyberimage backup`: the database and all pictures into a new folder, while everything runs."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.common import json_option, print_json
from app.cli.installation import run_command
from app.services.context import AppContext
from app.services.ops.backup import back_up


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> int:
    """Back the database and all pictures up to FOLDER, which must be new or empty. The service may run meanwhile."""
    return run_command(lambda context: _back_up(context, folder, as_json), "There is no backup: ")


def _back_up(context: AppContext, folder: Path, as_json: bool) -> None:
    backup = back_up(context, folder.absolute())
    if as_json:
        print_json(vars(backup) | {"folder": str(folder)})
        return
    print(f"{folder}: the database and {backup.files:,} files, {backup.bytes:,} bytes of them.")
    print(f"Restore it with: cyberimage restore {folder}")
