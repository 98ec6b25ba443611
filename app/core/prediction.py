"""A generation at a provider: asked for once, followed until it ends, and what came of fetching its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class PredictionStatus(StrEnum):
    """The provider's word for it. INTENDED is ours: it was about to be asked for; nobody knows yet whether it was."""

    INTENDED = "intended"
    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABORTED = "aborted"

    @property
    def terminal(self) -> bool:
        return self in (self.SUCCEEDED, self.FAILED, self.CANCELED, self.ABORTED)


def shown(value: Any) -> Any:
    """An input's value for people: a file that stands in it itself is not repeated."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    return f"{value[:40]}…" if isinstance(value, str) and value[:5].lower() == "data:" else value


@dataclass(frozen=True)
class Report:
    """What a provider says of a prediction, in an answer or a webhook. `outputs` are URLs of files that vanish soon;
    `predict_seconds` is the time that is paid for."""

    provider_id: str
    status: PredictionStatus
    outputs: tuple[str, ...] = ()
    error: str | None = None
    predict_seconds: float | None = None
    logs: str = ""


@dataclass(frozen=True)
class Prediction:
    """What we know of it. `id` is our own name for it, from before it was asked for; `provider_id` the provider's.

    Times are seconds since the epoch, by the database's clock; `age` is how long ago it was intended.
    """

    id: str
    job_id: str
    source: str
    model: str
    status: PredictionStatus
    input: Mapping[str, Any]
    created_at: float
    age: float
    provider_id: str | None = None
    outputs: tuple[str, ...] = ()
    error: str | None = None
    predict_seconds: float | None = None
    download_attempted: bool = False
    download_retries: int = 0
    download_error: str | None = None
