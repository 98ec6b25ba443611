"""The URL path prefix of the application: empty, or `/cyberimage` behind a proxy at https://host/cyberimage/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]{1,100}){1,10}")
_prefix: ContextVar[str] = ContextVar("url_prefix", default="")


def clean_prefix(text: str) -> str:
    """`text` as a path prefix, without a trailing slash. Empty if it is invalid: links must never lead to another
    host."""
    path = text.rstrip("/")
    return path if _PREFIX.fullmatch(path) else ""


def url_prefix() -> str:
    """The prefix of the current request."""
    return _prefix.get()


def url(path: str) -> str:
    """`path` with the prefix, for clients."""
    return _prefix.get() + path


@contextmanager
def with_url_prefix(prefix: str) -> Iterator[None]:
    """URLs made in the block begin with `prefix`."""
    token = _prefix.set(prefix)
    try:
        yield
    finally:
        _prefix.reset(token)
