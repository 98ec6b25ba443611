"""`cyberimage batch`: a file of requests to a folder of pictures, by a running server."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import cyberimage
from app.cli.batch_folder import BatchFolder, ChangedFile, Damaged
from app.cli.client import connected, server_options
from app.cli.common import EXIT_FAILED
from app.cli.progress import ProgressDisplay
from cyberimage import Client
from cyberimage.protocol import RETRIED_STATUSES

MEDIA_TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl", ".ndjson": "application/jsonl"}
PLACES = 200  # read at a time
POLL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
MOST_TRIES = 3  # of a picture that arrives damaged

Answer = TypeVar("Answer")


@click.group()
def command() -> None:
    """Generate many pictures from a file of requests."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to fill.")
@click.option("-m", "--model", help="For lines that name none; else the server's default.")
@click.option("--name", help="What to call the batch.")
@click.option("--skip-invalid", is_flag=True, help="Leave out lines that cannot be made, in place of refusing all.")
@click.option("--retry-failed", is_flag=True, help="Of a batch that was begun before: put failed jobs back first.")
@click.option("--patience", type=float, default=600.0, show_default=True, help="Seconds without an answer to bear.")
@server_options
def run(file: Path, out: Path, url: str, token: str | None, patience: float, **options: Any) -> int:
    """Submit the requests in FILE (CSV or JSONL) and download the pictures as they come.

    \b
    cyberimage batch run prompts.csv --out pictures

    The same command again goes on where it stopped: nothing is submitted or downloaded twice. It outlives restarts of
    the server. Ctrl+C leaves the batch running.
    """
    if file.suffix.lower() not in MEDIA_TYPES:
        raise click.UsageError(f"{file.name} is neither .csv nor .jsonl.")
    with connected(url, token) as client:
        batch = _Run(client, BatchFolder(out), patience)
        try:
            batch.begin(file, **options)
            return batch.follow()
        except ChangedFile as error:
            raise click.UsageError(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{out}: {error.strerror or error}.") from None
        except KeyboardInterrupt:
            click.echo("The batch goes on. The same command again downloads the rest.", err=True)
            raise click.Abort from None


class _Run:
    """One batch, from its file to its folder."""

    def __init__(self, client: Client, folder: BatchFolder, patience: float) -> None:
        self._client = client
        self._folder = folder
        self._patience = patience
        self._ended: set[int] = set()  # first places of pages of which everything is here
        self._missing = 0

    def begin(self, file: Path, *, model: str | None, name: str | None, skip_invalid: bool, retry_failed: bool) -> None:
        """Submit the file, unless this folder is that of its batch already."""
        content = file.read_bytes()
        state = self._folder.open(content, self._client.url)
        if state.batch_id is None:
            query = {"name": name or file.name, "model_id": model, "skip_invalid": "true" if skip_invalid else None}
            sent = {key: value for key, value in query.items() if value is not None}
            made = self._patiently(lambda: self._submit(content, MEDIA_TYPES[file.suffix.lower()], sent, state.key))
            if not re.fullmatch("[0-9a-f]{32}", str(made.get("batch_id"))):
                raise click.ClickException("The server's answer names no batch. Is it a CyberImage server?")
            for each in made["skipped"]:
                click.echo(_printable(f"Left out: {each['field']} {each['message']}"), err=True)
            self._folder.submitted(made["batch_id"])
        elif retry_failed:
            self._retry_failed()

    def _submit(self, content: bytes, kind: str, query: dict[str, str], key: str) -> dict[str, Any]:
        headers = {"Content-Type": kind, "Idempotency-Key": key}
        return self._client.request("POST", "/api/batches", params=query, content=content, headers=headers)

    def _retry_failed(self) -> None:
        try:
            path = f"/api/batches/{self._folder.batch_id}/retry-failed"
            self._patiently(lambda: self._client.request("POST", path, json={}))
        except cyberimage.Refused as error:
            if error.status != 409:
                raise
            click.echo(
                _printable(str(error)), err=True
            )  # none has failed, or the deadline has passed; what is there is downloaded

    def follow(self) -> int:
        """Download until the batch has ended. Returns the exit status."""
        with ProgressDisplay(sys.stderr, os.environ) as display:
            while True:
                status = self._status(limit=0)
                display.line(_line(status))
                self._download(status, display)
                if status["status"] == "ENDED":
                    break
                time.sleep(POLL_SECONDS)
        return self._finish(status)

    def _status(self, **query: int) -> dict[str, Any]:
        path = f"/api/batches/{self._folder.batch_id}"
        return self._patiently(lambda: self._client.request("GET", path, params=query))

    def _download(self, status: dict[str, Any], display: ProgressDisplay) -> None:
        """What is there and not yet here. Pages of which all is here are not read again."""
        for offset in range(0, status["jobs"], PLACES):
            if offset in self._ended or not self._may_have_more(status):
                continue
            page = self._status(offset=offset, limit=PLACES)
            for place in page["places"]:
                for image in place["images"]:
                    self._fetch(place["place"], image)
                    display.line(_line(page, self._folder.files))
            if all(place["status"] not in ("PENDING", "PROCESSING") for place in page["places"]):
                self._ended.add(offset)

    def _may_have_more(self, status: dict[str, Any]) -> bool:
        return bool(self._folder.jobs + self._missing < status["counts"]["COMPLETED"])

    def _fetch(self, place: int, image: dict[str, Any]) -> None:
        if self._folder.has(place, image):
            return
        for _ in range(MOST_TRIES):
            try:
                content = self._patiently(lambda: self._client.get_image(image["image_id"]))
                self._folder.save(place, image, content)
            except Damaged as error:
                click.echo(f"{error}; it is fetched again.", err=True)
                continue
            except cyberimage.Refused as error:
                if error.status not in (404, 410):
                    raise
                self._missing += 1  # removed since
            return
        raise click.ClickException(f"Picture {image['image_id']} arrived damaged {MOST_TRIES} times.")

    def _finish(self, status: dict[str, Any]) -> int:
        table = f"/api/batches/{self._folder.batch_id}/table"
        self._folder.write_table(self._patiently(lambda: self._client.request("GET", table)))
        counts = status["counts"]
        unmade = counts["FAILED"] + counts["CANCELLED"]
        click.echo(f"{self._folder.files} files in {self._folder.path}", err=True)
        if unmade:
            click.echo(f"{unmade} jobs were not made; manifest.json says why. --retry-failed tries again.", err=True)
        print(self._folder.path)
        return EXIT_FAILED if unmade else 0

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """The answer of `call`, tried again while the server is away or busy."""
        gives_up, pause = time.monotonic() + self._patience, 0.5
        while True:
            try:
                return call()
            except (cyberimage.Unreachable, cyberimage.Refused) as error:
                passing = not isinstance(error, cyberimage.Refused) or error.status in RETRIED_STATUSES
                wanted = error.retry_after or 0.0 if isinstance(error, cyberimage.Refused) else 0.0
                if not passing or time.monotonic() + max(pause, wanted) > gives_up:
                    raise
                time.sleep(max(pause, wanted))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _printable(text: str) -> str:
    """`text` of a server, without signs that a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _line(status: dict[str, Any], files: int | None = None) -> str:
    """`[####----] 120/500, 3 failed, 2 min left`."""
    counts, jobs = status["counts"], max(1, status["jobs"])
    ended = counts["COMPLETED"] + counts["FAILED"] + counts["CANCELLED"]
    bar = "#" * (24 * ended // jobs)
    parts = [f"[{bar:-<24}] {ended}/{status['jobs']}"]
    parts += [f"{counts['FAILED']} failed"] if counts["FAILED"] else []
    parts += [f"{files} files"] if files else []
    parts += ["paused"] if status["status"] == "PAUSED" else []
    left = status.get("eta_seconds")
    if left:
        parts.append(f"{left / 60:.0f} min left" if left >= 120 else f"{left:.0f} s left")
    return ", ".join(parts)
