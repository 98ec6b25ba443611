"""Invariants after a crash test, checked in the database and on the disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from app.core.job import Job, JobStatus
from app.monitoring.fault_log import INTERVAL_SECONDS
from app.services.context import AppContext
from app.services.ops.orphans import sweep_orphans
from tests.e2e.crash.clients import Asked, Memory
from tests.e2e.crash.worker_parts import MAKER

_FAULT = re.compile(
    r"(?P<time>\S+)Z \w+ +(?P<process>\w+\[\d+\]) (The database does not answer|No heartbeat reached|Cannot claim"
    r"|The database file .* was removed|Maintenance could not finish .The database|Notifications failed)"
)


def find_faults(context: AppContext, memory: Memory, *, other_clients: bool = False) -> list[str]:
    """All violations, one sentence each. With `other_clients` there are also jobs of other clients, which may fail."""
    faults = list(memory.wrong)
    faults += _lost(context, memory, other_clients)
    by_id = {asked.job_id: asked for asked in memory.acknowledged()}
    for job in _all_jobs(context):
        asked = by_id.get(job.id)
        if asked is not None or not other_clients:
            faults += _faults_of(context, job, asked)
    sweep_orphans(context, older_than=0.0)
    faults += _files(context)
    return faults


def find_floods(folder: Path) -> Iterator[str]:
    """Processes that logged more than one line of a database's fault in ten seconds."""
    last: dict[str, datetime] = {}
    lines = [line for path in sorted(folder.glob("app.log*")) for line in path.read_text(errors="replace").splitlines()]
    for line in sorted(lines):
        found = _FAULT.match(line)
        if found is None:
            continue
        at, process = datetime.fromisoformat(found["time"]), found["process"]
        if process in last and abs(at - last[process]).total_seconds() < INTERVAL_SECONDS - 1:
            yield f"{process} logged two lines of one fault within the interval: {line}"
        last[process] = at


def _lost(context: AppContext, memory: Memory, other_clients: bool) -> Iterator[str]:
    known = {job.id for job in _all_jobs(context)}
    for asked in memory.acknowledged():
        if asked.job_id not in known:
            yield f"{asked.job_id} was acknowledged and is lost"
    if len(known) > len(memory.asked) and not other_clients:
        yield f"{len(memory.asked)} requests made {len(known)} jobs"


def _faults_of(context: AppContext, job: Job, asked: Asked | None) -> Iterator[str]:
    outputs = context.outputs.of_job(job.id)
    images = tuple(output.id for output in outputs)
    if not job.status.terminal:
        yield f"{job.id} never ended: it is {job.status.value}, attempt {job.attempt}"
    if job.status is JobStatus.FAILED:
        yield f"{job.id} failed without a reason: {job.error_code}, attempt {job.attempt}"
    if job.status is JobStatus.CANCELLED and asked is not None and not asked.cancel_asked:
        yield f"{job.id} is cancelled without a request"
    wanted = job.request.num_images if job.status is JobStatus.COMPLETED else 0
    if [output.index for output in outputs] != list(range(wanted)):
        yield f"{job.id} is {job.status.value} and has the images {[output.index for output in outputs]}"
    if asked is not None and asked.terminal not in (None, (job.status.value, images)):
        yield f"{job.id} was reported as {asked.terminal} and is {job.status.value} with {images}"
    for output in outputs:
        if f"-{output.manifest['versions'][MAKER]}-" not in (job.worker_id or ""):
            yield f"{job.id} was published by a worker that did not own it"


def _files(context: AppContext) -> Iterator[str]:
    """Missing, damaged and orphaned files, after the sweep."""
    root = context.settings.images_dir
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    known: set[str] = set()
    for job in context.jobs.newest([JobStatus.COMPLETED], limit=1_000_000):
        for output in context.outputs.of_job(job.id):
            known |= {output.path, output.thumbnail_path}
            path = context.images.path(output.path)
            if not path.exists():
                yield f"{job.id} has a row without its file"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != output.sha256:
                yield f"{job.id} has a file that does not match its checksum"
    yield from (f"{name} belongs to no row" for name in sorted(found - known))
    yield from (f"{name} is missing" for name in sorted(known - found))


def _all_jobs(context: AppContext) -> list[Job]:
    return context.jobs.newest(list(JobStatus), limit=1_000_000)
