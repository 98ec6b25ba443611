"""Notifications between processes: publish after a COMMIT, so that subscribers query the database at once.

Only a hint: a lost notification costs one poll interval, never a job. With SQLite it is a Unix datagram per subscriber
(0.3 ms, no cost when idle), with PostgreSQL LISTEN/NOTIFY.

Topics: `work` (something to claim or to cancel) and `news` (a job changed; the message is its id).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import stat
import tempfile
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Literal, Protocol

import psycopg
from sqlalchemy.engine import URL

from app.errors import ConfigurationError
from app.monitoring.fault_log import database_faults

Topic = Literal["work", "news"]
LONGEST_TMPDIR = 48  # bytes; a socket's path may have 107, on some systems 103
log = logging.getLogger("cyberimage.store")


class Subscription(Protocol):
    def wait(self, timeout: float) -> str | None:
        """The next message, or None after `timeout` seconds."""

    def close(self) -> None: ...


class Notifier(Protocol):
    def publish(self, topic: Topic, message: str = "") -> None:
        """Wake all subscribers of `topic`. Never blocks, never fails."""

    def subscribe(self, topic: Topic) -> Subscription: ...


def open_notifier(url: URL) -> Notifier:
    """The notifier for the database at `url`."""
    if url.get_backend_name() == "sqlite":
        return LocalNotifier(Path(url.database or "").resolve())
    return PostgresNotifier(url)


class LocalNotifier:
    """One datagram socket per subscriber, in a private folder named after the database."""

    def __init__(self, database_path: Path) -> None:
        # Not next to the database: the path of a socket may have 107 bytes at most, and projects may be nested deeper.
        digest = hashlib.sha256(str(database_path).encode()).hexdigest()[:16]
        self._folder = _short_temporary_folder() / f"cyberimage-{os.getuid()}-{digest}"
        if not self._make_folder():
            raise ConfigurationError([f"{self._folder} is not a folder of this user. Remove it, or set TMPDIR."])
        self._folder.chmod(0o700)  # regardless of the umask
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def _make_folder(self) -> bool:
        """Create the folder; true if it belongs to this user. Its parent is writable by every user."""
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        return self._is_ours()

    def _is_ours(self) -> bool:
        try:
            found = self._folder.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()

    def publish(self, topic: Topic, message: str = "") -> None:
        if not self._is_ours():
            return
        for path in self._folder.glob(f"{topic}-*"):
            try:
                self._sender.sendto(message.encode(), str(path))
            except ConnectionRefusedError:  # its subscriber crashed
                path.unlink(missing_ok=True)
            except OSError:  # full, or just closed: the subscriber polls
                continue

    def subscribe(self, topic: Topic) -> Subscription:
        if not self._make_folder():  # temporary folders get cleaned up, and another user may have created it since
            log.warning("%s is not a folder of this user, so work is found by polling. Remove it.", self._folder)
            return _PollingSubscription()
        return _LocalSubscription(self._folder / f"{topic}-{uuid.uuid4().hex[:12]}")


def _short_temporary_folder() -> Path:
    """TMPDIR, unless a socket's path in it would be too long."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= LONGEST_TMPDIR else Path("/tmp")  # noqa: S108 - in a private folder


class _PollingSubscription:
    """Never receives a message: `wait` always times out, so that the caller polls."""

    def wait(self, timeout: float) -> str | None:
        time.sleep(timeout)
        return None

    def close(self) -> None:
        pass


class _LocalSubscription:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait(self, timeout: float) -> str | None:
        self._socket.settimeout(max(timeout, 0.0001))
        try:
            return self._socket.recv(256).decode()
        except TimeoutError:
            return None

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


class PostgresNotifier:
    def __init__(self, url: URL) -> None:
        url = url.set(drivername="postgresql").update_query_dict({"connect_timeout": "3"})
        self._dsn = url.render_as_string(hide_password=False)
        self._sender: psycopg.Connection | None = None

    def publish(self, topic: Topic, message: str = "") -> None:
        try:
            if self._sender is None or self._sender.closed:
                self._sender = psycopg.connect(self._dsn, autocommit=True)
            self._sender.execute("SELECT pg_notify(%s, %s)", (f"cyberimage_{topic}", message))
        except psycopg.Error as error:
            kind = type(error).__name__
            database_faults.add(log, logging.WARNING, "Notifications failed (%s); work is found by polling.", kind)
            self._sender = None

    def subscribe(self, topic: Topic) -> Subscription:
        return _PostgresSubscription(self._dsn, topic)


class _PostgresSubscription:
    """Reconnects by itself after a restart of the database."""

    def __init__(self, dsn: str, topic: Topic) -> None:
        self._dsn, self._topic = dsn, topic
        self._connection: psycopg.Connection | None = None
        self._received: deque[str] = deque()  # several may come in one packet

    def wait(self, timeout: float) -> str | None:
        if self._received:
            return self._received.popleft()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._dsn, autocommit=True)
                self._connection.execute(f"LISTEN cyberimage_{self._topic}")
            self._received.extend(note.payload for note in self._connection.notifies(timeout=timeout, stop_after=1))
        except psycopg.Error:
            self._connection = None
            # The caller polls; wait its interval, so that an unavailable database is not flooded.
            time.sleep(timeout)
        return self._received.popleft() if self._received else None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
