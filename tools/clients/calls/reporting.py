"""What a client's calls gave, as lines of JSON for `make clients`."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from PIL import Image

URL, KEY, MODEL = os.environ["CYBERIMAGE_URL"], os.environ["CYBERIMAGE_TOKEN"], "demo"


class Report:
    """Of one client: `name`, and the package whose version counts."""

    def __init__(self, name: str, package: str) -> None:
        self._about = {"client": name, "version": version(package)}

    def call(self, name: str, call: Callable[[], Any]) -> None:
        """Run `call`, which gives words about what came, and print the outcome."""
        try:
            found, is_good = str(call()), True
        except Exception as error:  # noqa: BLE001 - every fault of a client is an outcome
            found, is_good = f"{type(error).__name__}: {error}"[:300], False
        print(json.dumps({**self._about, "call": name, "result": found, "good": is_good}), flush=True)


def picture(data: bytes | str) -> str:
    """What a picture is, in words. Raises for what is none."""
    opened = Image.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data))
    opened.load()
    return f"{opened.format} {opened.width}x{opened.height}"


def png(color: str = "green") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256), color).save(buffer, "PNG")
    return buffer.getvalue()


def refused(call: Callable[[], Any], kind: type[Exception]) -> str:
    """What an error says that must come."""
    try:
        call()
    except kind as error:
        return f"{type(error).__name__}: {error}"[:120]
    raise AssertionError("it was not refused")
