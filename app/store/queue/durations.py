"""Measured durations: exponential averages of seconds per model, from finished jobs (see `claims.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from app.core.job import Phase
from app.core.request import GenerationRequest
from app.store.db.database import Database
from app.store.db.prepared import Prepared
from app.store.db.schema import speeds

LOAD = "load"
_WORK = (Phase.ENCODING, Phase.GENERATING, Phase.DECODING)
_NEWEST = 0.3  # weight of the newest observation


class DurationStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[tuple[str, str], float]:
        """Seconds by (model_id, bucket); the bucket is LOAD, or a `duration_bucket` for one picture."""
        with self._database.read() as connection:
            rows = connection.execute(select(speeds.c.model_id, speeds.c.bucket, speeds.c.seconds))
            return {(row.model_id, row.bucket): row.seconds for row in rows}


def duration_bucket(request: GenerationRequest) -> str:
    """Jobs of one model in the same bucket take about the same time per picture."""
    frames = f"x{request.num_frames}" if request.num_frames else ""
    scheduler = f"x{request.scheduler}" if request.scheduler else ""  # some evaluate the model twice a step
    second = f"x{request.upscale.factor:g}" if request.upscale else ""  # the size is that of the first pass
    return f"{request.width or 0}x{request.height or 0}x{request.steps_run}{frames}{scheduler}{second}"


def update_durations(
    connection: Connection, request: GenerationRequest, timings: Mapping[str, Any], merged: int
) -> None:
    """Add a finished job's seconds by phase to the averages, in the caller's transaction; `merged` jobs shared
    them."""
    pictures = request.num_images * merged
    observed = {
        LOAD: timings.get(Phase.LOADING.value, 0.0),
        duration_bucket(request): sum(timings.get(phase.value, 0.0) for phase in _WORK) / pictures,
    }
    rows = [
        {"model_id": request.model_id, "bucket": bucket, "seconds": seconds, "samples": 1}
        for bucket, seconds in observed.items()
        if seconds > 0
    ]
    if rows:
        _UPDATE[connection.dialect.name].many(connection, rows)


def _upsert(dialect: Any) -> Any:
    """An upsert, because two workers may finish the first job of a model at the same time."""
    statement = dialect.insert(speeds)
    averaged = speeds.c.seconds * (1 - _NEWEST) + statement.excluded.seconds * _NEWEST
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=[speeds.c.model_id, speeds.c.bucket],
            set_={"seconds": averaged, "samples": speeds.c.samples + 1},
        )
    )


_UPDATE = {"sqlite": _upsert(sqlite), "postgresql": _upsert(postgresql)}


def load_seconds(connection: Connection, model_id: str) -> float | None:
    """Average load time of the model, None if it was never measured."""
    seconds: float | None = connection.scalar(_LOAD_SECONDS, {"model": model_id})
    return seconds


_LOAD_SECONDS = select(speeds.c.seconds).where(speeds.c.model_id == bindparam("model"), speeds.c.bucket == LOAD)
