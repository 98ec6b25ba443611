"""Bodies with pictures in them: received to a file, and taken into memory only so many at a time.

A client may be slow to send one, and must not hold memory meanwhile; a body that is here costs four times its size
while it is read. What a request holds is released when it has been answered, or earlier, when it waits for its job.
"""

from __future__ import annotations

import tempfile
from typing import IO

from flask import Flask, Request, g, request

from app.api.server.context import api_context
from app.errors import PayloadTooLarge

_PIECE = 65_536
_HELD = "large_body_bytes"


def register(app: Flask) -> None:
    app.teardown_request(lambda _: give_back())


def read(sent: Request) -> bytes:
    """The whole body. Raises PayloadTooLarge, Unavailable."""
    with tempfile.TemporaryFile() as file:
        size = _receive(sent, file)
        hold(size)
        file.seek(0)
        return file.read()


def hold(size: int) -> None:
    """Wait until so many bytes may be in memory. Raises Unavailable."""
    budget = api_context().large_bodies
    size = min(size, budget.total - g.get(_HELD, 0))
    budget.acquire(size)
    setattr(g, _HELD, g.get(_HELD, 0) + size)


def give_back() -> None:
    """The body of the present request is needed no more."""
    held = g.pop(_HELD, 0)
    if held:
        api_context().large_bodies.release(held)


def forget(*pictures: object) -> None:
    """Let go of the present request's body, of which `pictures` are the models that were read from it."""
    for model in pictures:
        for name in ("image", "mask", "inputs"):
            if name in vars(model):
                vars(model)[name] = None  # they are frozen; but the framework keeps them until the answer
    vars(request).pop("read_body", None)
    give_back()


def _receive(sent: Request, file: IO[bytes]) -> int:
    limit = sent.max_content_length or 0
    size = 0
    while piece := sent.stream.read(_PIECE):
        size += len(piece)
        file.write(piece)
    # werkzeug refuses a length announced too large, but cuts a chunked body off at the limit and says nothing.
    if sent.content_length is None and size >= limit:
        raise PayloadTooLarge()
    return size
