"""A prediction: a generation at a provider, its status and the download of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class PredictionStatus(StrEnum):
    """The provider's status. INTENDED is ours: the request was about to be sent; whether it was is not known yet."""

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


NO_FILE = "The model succeeded without an output file."


def shown(value: Any) -> Any:
    """An input's value for display: data URIs are shortened."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    return f"{value[:40]}…" if isinstance(value, str) and value[:5].lower() == "data:" else value


def shown_input(input: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shown(value) for name, value in input.items()}


@dataclass(frozen=True)
class Report:
    """A provider's report about a prediction. `outputs` are URLs of files that expire soon; `predict_seconds` is the
    billed time."""

    provider_id: str
    status: PredictionStatus
    outputs: tuple[str, ...] = ()
    error: str | None = None
    predict_seconds: float | None = None
    logs: str = ""


@dataclass(frozen=True)
class Prediction:
    """The stored state of a prediction. `id` is ours, from before the request; `provider_id` the provider's.

    Times are seconds since the epoch, by the database's clock; `age` is seconds since `created_at`, `ended_age` since
    its end became known, None before.
    """

    id: str
    job_id: str
    source: str
    model: str
    status: PredictionStatus
    input: Mapping[str, Any]
    created_at: float
    age: float
    ended_age: float | None = None
    provider_id: str | None = None
    outputs: tuple[str, ...] = ()
    error: str | None = None
    predict_seconds: float | None = None
    download_attempted: bool = False
    download_retries: int = 0
    download_error: str | None = None
