"""The Python client, as the commands that talk to a running server use it: its errors become exit statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

import cyberimage
from app.cli.common import EXIT_UNAVAILABLE
from cyberimage.protocol import DEFAULT_URL

Command = TypeVar("Command", bound=Callable[..., Any])


class ServerUnavailable(click.ClickException):
    exit_code = EXIT_UNAVAILABLE


def server_options(command: Command) -> Command:
    """Decorator: --url and --token, which also come from the environment."""
    token = click.option("--token", envvar="CYBERIMAGE_TOKEN", help="API key or hub token ($CYBERIMAGE_TOKEN).")
    url = click.option("--url", envvar="CYBERIMAGE_URL", default=DEFAULT_URL, help="The server ($CYBERIMAGE_URL).")
    return url(token(command))


@contextmanager
def connected(url: str, token: str | None) -> Iterator[cyberimage.Client]:
    """A client that does not try again: the person at the terminal does. Raises ServerUnavailable when no server
    answers, ClickException with the server's own sentence when it refuses."""
    try:
        with cyberimage.Client(url, token, retries=0) as client:
            yield client
    except cyberimage.Unreachable as error:
        advice = "Start it with `cyberimage run`, or name another server with --url."
        raise ServerUnavailable(f"{error}. {advice}") from None
    except cyberimage.Refused as error:
        raise click.ClickException("\n".join(_lines(error))) from None
    except cyberimage.Error as error:
        raise click.ClickException(str(error)) from None


def _lines(error: cyberimage.Refused) -> Iterator[str]:
    yield str(error) if error.code != "unknown" else error.detail
    if len(error.errors) > 1:
        yield from (f"  {one['field']}: {one['message']}" for one in error.errors)
    if error.status == 401:
        yield "Give an API key with --token or $CYBERIMAGE_TOKEN."
