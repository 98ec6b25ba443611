"""Requests to workers to load or unload a model, between jobs and without a restart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoadAction(StrEnum):
    LOAD = "load"
    UNLOAD = "unload"


class LoadState(StrEnum):
    PENDING = "PENDING"
    TAKEN = "TAKEN"
    DONE = "DONE"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (LoadState.DONE, LoadState.FAILED)


@dataclass(frozen=True)
class LoadRequest:
    """`model_id` None means all models; with `lora` this LoRA is meant, in that model.

    `addressee` is the id of the only worker that may take it, None = any worker.

    Times are seconds since the epoch by the database's clock. A request is not taken after `expires_at`. During a
    download `downloaded_bytes` of `total_bytes` are done, at the measured `bytes_per_second`.
    """

    id: str
    action: LoadAction
    model_id: str | None
    addressee: str | None
    state: LoadState
    created_at: float
    expires_at: float
    worker_id: str | None = None
    taken_at: float | None = None
    ended_at: float | None = None
    was_resident: bool = False  # it was loaded already
    error_code: str | None = None
    error_message: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: float | None = None
    lora: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the worker took; None until it is done."""
        if self.taken_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.taken_at)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the download is done; None without one, or while its rate is unknown."""
        if self.downloaded_bytes is None or self.total_bytes is None or not self.bytes_per_second:
            return None
        return max(0, self.total_bytes - self.downloaded_bytes) / self.bytes_per_second
