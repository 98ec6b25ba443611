"""`cyberimage media`: move pictures and videos to another media store, and compare them with their checksums."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from app.cli.common import EXIT_DAMAGED, json_option, print_json
from app.cli.installation import run_command
from app.cli.progress import ProgressDisplay
from app.config.media_store import store_name
from app.errors import ConfigurationError
from app.files.open_store import open_media_store
from app.services.context import AppContext
from app.services.ops.media_move import MediaReport, Progress, move, verify

MOST_NAMED = 20
_STORE = "folder, s3://bucket or s3://bucket/prefix, as MEDIA_STORE"


@click.group()
def command() -> None:
    """Move pictures and videos to another media store, and verify them."""


@command.command("move")
@click.option("--to", "target", required=True, metavar="STORE", help=f"Where to: {_STORE}.")
@click.option("--from", "source", metavar="STORE", help="Where from; by default MEDIA_STORE.")
@click.option("--remove", is_flag=True, help="Remove from there what is in the other store; --to must be MEDIA_STORE.")
@json_option
def move_command(target: str, source: str | None, remove: bool, as_json: bool) -> int:
    """Copy all files to another store, each compared with its checksum. The service may run meanwhile, and the command
    may be interrupted and run again: it goes on where it was."""
    return _run(lambda context, progress: _move(context, source, target, remove, progress), as_json)


@command.command("verify")
@json_option
def verify_command(as_json: bool) -> int:
    """Read all files and compare them with their checksums. The exit status is 65 if some are missing or changed."""
    return _run(lambda context, progress: verify(context, progress=progress), as_json)


def _move(context: AppContext, source: str | None, target: str, remove: bool, progress: Progress) -> MediaReport:
    settings = context.settings
    source, target = _named("--from", source or settings.media_store), _named("--to", target)
    if source == target:
        raise ConfigurationError([f"--to {target} is where the files are. Name another store, or --from."])
    if remove and target != settings.media_store:
        raise ConfigurationError(
            [f"--remove would take files away that are in use. Set MEDIA_STORE={target}, restart, and run this again."]
        )
    stores = open_media_store(settings, source), open_media_store(settings, target)
    if problem := next(filter(None, (store.refusal() for store in stores)), None):
        raise ConfigurationError([problem])
    return move(context, *stores, remove=remove, progress=progress)


def _named(option: str, store: str) -> str:
    """In the one spelling: a store must not be taken for two. Raises ConfigurationError."""
    try:
        return store_name(store)
    except ValueError as error:
        raise ConfigurationError([f"{option}: {error}"]) from None


def _run(work: Callable[[AppContext, Progress], MediaReport], as_json: bool) -> int:
    reports: list[MediaReport] = []

    def do(context: AppContext) -> None:
        with ProgressDisplay(sys.stderr, {}) as display:
            reports.append(work(context, lambda number: display.line(f"{number:,} pictures")))

    status = run_command(do, "This could not be finished: ")
    for report in reports:
        _print(report, as_json)
        status = status or (0 if report.is_whole else EXIT_DAMAGED)
    return status


def _print(report: MediaReport, as_json: bool) -> None:
    if as_json:
        print_json(vars(report))
        return
    copied = f"{report.copied:,} files copied ({report.bytes:,} bytes)"
    print(f"{report.pictures:,} pictures; {copied}, {report.removed:,} removed.")
    for word, names in (("missing", report.missing), ("changed", report.changed)):
        if names:
            rest = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
            print(f"{len(names):,} {word}: {', '.join(names[:MOST_NAMED])}{rest}")
