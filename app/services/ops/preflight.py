"""Startup checks: tries whether a valid configuration works on this machine.

Used by `run.py --check`, and at start before anything else runs.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from app.config import ROOT, Settings
from app.errors import ConfigurationError
from app.files.open_store import open_media_store
from app.services.context import AppContext


def startup_problems(settings: Settings) -> Iterator[str]:
    """One sentence for each problem, naming the setting."""
    path = settings.socket_path
    if problem := _cannot_listen_at(path) if path else _cannot_listen(settings.host, settings.port):
        yield problem
    for name, folder in _folders(settings):
        if problem := _cannot_write(folder):
            yield f"{name}={folder}: {problem}."
    if problem := _media_store_problem(settings):
        yield problem


def require_media_store(context: AppContext) -> None:
    """Raises ConfigurationError if the media store can never be used as it is set up. While it does not answer, a start
    goes on: jobs wait for it."""
    if refusal := context.images.refusal():
        raise ConfigurationError([refusal])


def _media_store_problem(settings: Settings) -> str | None:
    try:
        return open_media_store(settings).refusal() if settings.uses_s3 else None
    except ConfigurationError as error:
        return error.problems[0]


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "IMAGES_DIR", settings.images_dir
    yield "VIDEOS_DIR", settings.videos_dir
    yield "LOG_DIR", settings.log_dir
    yield "MODEL_CACHE_DIR", settings.model_cache_dir
    _, found, path = settings.database_url.partition("sqlite:///")
    if found and path:
        yield "DATABASE_URL", (ROOT / path.partition("?")[0]).parent


def _cannot_write(folder: Path) -> str | None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # it will be created
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"user {os.geteuid()} may not write to {folder}"
    return None


def _cannot_listen(host: str, port: int) -> str | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except OSError as error:
        return f"HOST={host}: this name has no address here ({error.strerror})."
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return _why_not(host, port, error)
    return None


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"PORT={port}: another program listens on it. Stop that, or choose another port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST={host}: this machine has no such address. Use one of its addresses, or 0.0.0.0 or :: for all."
    if error.errno == errno.EACCES:
        return f"PORT={port}: user {os.geteuid()} may not listen below 1024. Choose a higher port."
    return f"HOST={host}: cannot listen there ({error.strerror})."


def _cannot_listen_at(path: Path) -> str | None:
    if problem := _cannot_write(path.parent):
        return f"HOST=unix:{path}: {problem}."
    if not path.exists():
        return None
    if not stat.S_ISSOCK(path.stat().st_mode):
        return f"HOST=unix:{path}: this file is not a socket. Remove it, or choose another path."
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None  # stale; it is replaced
    return f"HOST=unix:{path}: another program listens there. Stop that, or choose another path."
