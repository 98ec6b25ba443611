"""`cyberimage migrate`: bring the database's schema up to date, apart from starting anything."""

from __future__ import annotations

import click

from app.cli.common import json_option, print_json
from app.cli.installation import run_command
from app.services.context import AppContext
from app.store.db.migrate import revision_of


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Bring the database up to date, or make it. Servers and workers do that too when they start; this is for jobs that
    run before them. Processes that do it at the same time wait for each other."""
    return run_command(lambda context: _report(context, as_json), "The database could not be brought up to date: ")


def _report(context: AppContext, as_json: bool) -> None:
    revision = revision_of(context.database)
    if as_json:
        print_json({"revision": revision})
    else:
        print(f"The database is at revision {revision}.")
