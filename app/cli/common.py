"""What all commands share: exit statuses, output as JSON. It imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

EXIT_FAILED, EXIT_CONFIGURATION = 1, 2
EXIT_UNAVAILABLE = 69  # sysexits' EX_UNAVAILABLE: no server answers, or the database is not there yet
EXIT_DAMAGED = 65  # sysexits' EX_DATAERR: the database is damaged
EXIT_INTERRUPTED = 130

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def invoke(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    """Run a click command and return its exit status: 2 for wrong usage, 130 after Ctrl+C."""
    try:
        result = command.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    return result if isinstance(result, int) else 0


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
