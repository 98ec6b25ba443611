"""What is wrong with a message of the Model Context Protocol itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest


class ProtocolError(InvalidRequest):
    """An error of JSON-RPC, by its `number`. `data` goes along with it; `http_status` is None where the protocol's
    version decides."""

    def __init__(
        self, number: int, detail: str, data: Mapping[str, Any] | None = None, *, status: int | None = None
    ) -> None:
        super().__init__(detail)
        self.number = number
        self.data = data
        self.http_status = status
