"""`cyberimage check`: read the configuration as the server would, and explain it."""

from __future__ import annotations

import sys

import click

from app.cli.common import EXIT_CONFIGURATION, json_option, print_json
from app.cli.run import explain, findings
from app.errors import ConfigurationError
from app.services.configuration import read_configuration


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Check the settings, folders and the port: what differs from the defaults, what is doubtful, what cannot work."""
    try:
        read = read_configuration()
    except ConfigurationError as error:
        if as_json:
            print_json({"ok": False, "errors": list(error.problems)})
        else:
            print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    if not as_json:
        return explain(read)
    changed, warnings, errors = findings(read)
    print_json({"ok": not errors, "changed": changed, "warnings": warnings, "errors": errors})
    return EXIT_CONFIGURATION if errors else 0
