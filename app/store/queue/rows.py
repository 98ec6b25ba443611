"""Rows of jobs and of their input pictures, to and from domain objects; and the fence: the condition in the WHERE of
every write by a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, insert, select

from app.core.catalog import Lane
from app.core.inputs import InputPicture
from app.core.job import Claim, Job, JobStatus, Phase, Progress
from app.core.request import GenerationRequest
from app.core.safety import SafetyResult
from app.store.db.database import Database
from app.store.db.schema import PROCESSING, inputs, jobs

# Jobs of a paused batch wait in lanes of their own, which no worker claims from: a claim costs the same however many
# jobs are paused.
PAUSED: Mapping[Lane, str] = {"local": "local-p", "remote": "remote-p"}
_RESUMED: Mapping[str, Lane] = {paused: lane for lane, paused in PAUSED.items()}


def lane_of(stored: str) -> Lane:
    """The lane of a job, paused or not."""
    return _RESUMED.get(stored) or ("remote" if stored == "remote" else "local")


def job_from_row(row: Row[Any]) -> Job:
    """The Job of a complete row of `jobs`."""
    return Job(
        id=row.id,
        seq=row.seq,
        client_id=row.client_id,
        status=JobStatus(row.status),
        priority=row.priority,
        turn=row.turn,
        request=request_from_row(row),
        created_at=row.created_at,
        available_at=row.available_at,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        revision=row.revision,
        progress=_progress(row),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        completed_at=row.completed_at,
        worker_id=row.worker_id,
        cancel_requested=row.cancel_requested,
        error_code=row.error_code,
        error_message=row.error_message,
        warnings=tuple(row.warnings),
        timings=row.timings,
        webhook_url=row.webhook_url,
        request_id=row.request_id,
        traceparent=row.traceparent,
        vram_peak_bytes=row.vram_peak_bytes,
        safety=SafetyResult(row.safety_filter_result) if row.safety_filter_result else None,
        lane=lane_of(row.lane),
        paused=row.lane in PAUSED.values(),
        batch_id=row.batch_id,
        batch_place=row.batch_place,
    )


def _progress(row: Row[Any]) -> Progress:
    if row.status == JobStatus.COMPLETED.value:
        return Progress(Phase.DONE, row.total_steps, row.total_steps, row.seconds_per_step)
    if row.status == JobStatus.PENDING.value:  # progress of an earlier attempt does not count
        return Progress(Phase.STARTING, 0, row.total_steps)
    download = (row.downloaded_bytes, row.total_bytes)
    return Progress(Phase(row.phase), row.step, row.total_steps, row.seconds_per_step, *download)


REQUEST_COLUMNS = (jobs.c.model_id, jobs.c.prompt, jobs.c.negative_prompt, jobs.c.settings)


def request_from_row(row: Row[Any]) -> GenerationRequest:
    return GenerationRequest(
        model_id=row.model_id, prompt=row.prompt, negative_prompt=row.negative_prompt, **row.settings
    )


OWNED = and_(
    jobs.c.id == bindparam("own_job"),
    PROCESSING,
    jobs.c.worker_id == bindparam("own_worker"),
    jobs.c.attempt == bindparam("own_attempt"),
)


def fence(claim: Claim) -> dict[str, Any]:
    """The parameters of OWNED."""
    return {"own_job": claim.job_id, "own_worker": claim.worker_id, "own_attempt": claim.attempt}


class InputStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def pngs(self, job_id: str) -> dict[str, bytes]:
        """The PNGs of a job by role; empty for a job without inputs."""
        with self._database.read() as connection:
            return {row.role: row.png for row in connection.execute(_PNGS, {"job": job_id})}

    def png(self, job_id: str, role: str) -> bytes | None:
        """The PNG of one role; None if the job has none."""
        query = select(inputs.c.png).where(inputs.c.job_id == job_id, inputs.c.role == role)
        with self._database.read() as connection:
            found: bytes | None = connection.scalar(query)
            return found


def store_inputs(connection: Connection, job_id: str, pictures: Sequence[InputPicture]) -> None:
    """Insert the pictures of a new job, in the transaction that creates it."""
    if not pictures:
        return
    rows = [
        {
            "job_id": job_id,
            "role": picture.slot,
            "sha256": picture.ref.sha256,
            "width": picture.ref.width,
            "height": picture.ref.height,
            "png": picture.png,
        }
        for picture in pictures
    ]
    connection.execute(insert(inputs), rows)


_PNGS = select(inputs.c.role, inputs.c.png).where(inputs.c.job_id == bindparam("job"))
