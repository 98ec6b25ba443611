"""An order to the workers: load a model, or unload one, without a restart and without touching running jobs."""

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
    """`model_id` None means all models. `addressee` is the one worker it is meant for, None = whoever comes first.

    Times are seconds since the epoch by the database's clock. Nobody takes an order that is past `expires_at`. While
    the model is downloaded, `downloaded_bytes` of `total_bytes` are here, and as many come a second as was measured.
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
    was_resident: bool = False  # there was nothing to load
    error_code: str | None = None
    error_message: str | None = None
    downloaded_bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long the worker took, once it is done."""
        if self.taken_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.taken_at)

    @property
    def eta_seconds(self) -> float | None:
        """Until all is downloaded; None when nothing is, or before it is known how fast it comes."""
        if self.downloaded_bytes is None or self.total_bytes is None or not self.bytes_per_second:
            return None
        return max(0, self.total_bytes - self.downloaded_bytes) / self.bytes_per_second
