"""A doorbell between processes: after a COMMIT somebody rings, and whoever waits looks at the database at once.

It is a hint and nothing more. A lost ring costs one slow poll, never a job. On one machine with SQLite it is a Unix
datagram per listener (0.3 ms, no idle cost); with PostgreSQL it is LISTEN/NOTIFY.

Topics: `work` (there is something to claim or to cancel) and `news` (a job changed; the message is its id).
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

Topic = Literal["work", "news"]
LONGEST_TMPDIR = 48  # bytes; a socket's path may have 107, on some systems 103
log = logging.getLogger("cyberimage.store")


class Subscription(Protocol):
    def wait(self, timeout: float) -> str | None:
        """The next message, or None after `timeout` seconds."""

    def close(self) -> None: ...


class Notifier(Protocol):
    def ring(self, topic: Topic, message: str = "") -> None:
        """Wake everybody who listens to `topic`. Never blocks, never fails."""

    def listen(self, topic: Topic) -> Subscription: ...


def open_notifier(url: URL) -> Notifier:
    """The doorbell that goes with the database at `url`."""
    if url.get_backend_name() == "sqlite":
        return LocalNotifier(Path(url.database or "").resolve())
    return PostgresNotifier(url)


class LocalNotifier:
    """One datagram socket per listener, in a private folder named after the database."""

    def __init__(self, database_path: Path) -> None:
        # Not beside the database: a socket's path may have 107 bytes at most, and a project may lie deep.
        digest = hashlib.sha256(str(database_path).encode()).hexdigest()[:16]
        self._folder = _short_temporary_folder() / f"cyberimage-{os.getuid()}-{digest}"
        if not self._make_folder():
            raise ConfigurationError([f"{self._folder} is not a folder of this user: remove it, or set TMPDIR."])
        self._folder.chmod(0o700)  # whatever the umask was
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def _make_folder(self) -> bool:
        """Whether it is there and ours. Everybody may write to the folder that it lies in."""
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        return self._is_ours()

    def _is_ours(self) -> bool:
        try:
            found = self._folder.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()

    def ring(self, topic: Topic, message: str = "") -> None:
        if not self._is_ours():
            return
        for path in self._folder.glob(f"{topic}-*"):
            try:
                self._sender.sendto(message.encode(), str(path))
            except ConnectionRefusedError:  # its listener died without saying goodbye
                path.unlink(missing_ok=True)
            except OSError:  # full, or gone this moment: it will poll
                continue

    def listen(self, topic: Topic) -> Subscription:
        if not self._make_folder():  # temporary folders are tidied up now and then, and then somebody else was first
            log.warning("%s is not a folder of this user: work is found by polling. Remove it.", self._folder)
            return _PollingSubscription()
        return _LocalSubscription(self._folder / f"{topic}-{uuid.uuid4().hex[:12]}")


def _short_temporary_folder() -> Path:
    """TMPDIR, unless a socket's whole path would not fit."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= LONGEST_TMPDIR else Path("/tmp")  # noqa: S108 - the folder in it is ours


class _PollingSubscription:
    """Hears nothing: whoever waits looks when the time is up."""

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

    def ring(self, topic: Topic, message: str = "") -> None:
        try:
            if self._sender is None or self._sender.closed:
                self._sender = psycopg.connect(self._dsn, autocommit=True)
            self._sender.execute("SELECT pg_notify(%s, %s)", (f"cyberimage_{topic}", message))
        except psycopg.Error as error:
            log.warning("The doorbell is silent (%s); work is found by polling.", type(error).__name__)
            self._sender = None

    def listen(self, topic: Topic) -> Subscription:
        return _PostgresSubscription(self._dsn, topic)


class _PostgresSubscription:
    """Connects again by itself: the database may be restarted under it."""

    def __init__(self, dsn: str, topic: Topic) -> None:
        self._dsn, self._topic = dsn, topic
        self._connection: psycopg.Connection | None = None
        self._heard: deque[str] = deque()  # several rings may come in one packet

    def wait(self, timeout: float) -> str | None:
        if self._heard:
            return self._heard.popleft()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._dsn, autocommit=True)
                self._connection.execute(f"LISTEN cyberimage_{self._topic}")
            self._heard.extend(note.payload for note in self._connection.notifies(timeout=timeout, stop_after=1))
        except psycopg.Error:
            self._connection = None
            # The caller polls; wait out its pause so that a database that is away is not hammered.
            time.sleep(timeout)
        return self._heard.popleft() if self._heard else None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
