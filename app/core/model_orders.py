"""An order to the workers: load a model, or unload one, without a restart and without touching running jobs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OrderAction(StrEnum):
    LOAD = "load"
    UNLOAD = "unload"


class OrderState(StrEnum):
    PENDING = "PENDING"
    TAKEN = "TAKEN"
    DONE = "DONE"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        return self in (OrderState.DONE, OrderState.FAILED)


@dataclass(frozen=True)
class ModelOrder:
    """`model_id` None means all models. `addressee` is the one worker it is meant for, None = whoever comes first.

    Times are seconds since the epoch by the database's clock. Nobody takes an order that is past `expires_at`.
    """

    id: str
    action: OrderAction
    model_id: str | None
    addressee: str | None
    state: OrderState
    created_at: float
    expires_at: float
    worker_id: str | None = None
    taken_at: float | None = None
    ended_at: float | None = None
    was_resident: bool = False  # there was nothing to load
    error_code: str | None = None
    error_message: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the worker took, once it is done."""
        if self.taken_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.taken_at)
