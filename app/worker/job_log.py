"""Job log: one line for each job that ended in this worker, with request, duration and memory use."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from app.core.safety import SafetyResult
from app.errors import ContentBlocked
from app.worker.running_job import RunningJob

log = logging.getLogger("cyberimage.jobs")


def log_ended(job: RunningJob, outcome: str, *, show_prompt: bool) -> None:
    """Log the end of `job`. `outcome` is completed, cancelled, or the code of the error it FAILED with."""
    request = job.claim.request
    facts: dict[str, Any] = {
        "outcome": outcome,
        "model_id": request.model_id,
        "seed": request.seed,
        "latency_ms": round(1000 * (job.claim.queued_seconds + time.monotonic() - job.started)),
        "vram_peak_mb": round(job.vram_peak_bytes / 1e6),
        "safety_filter_result": SafetyResult.BLOCKED if outcome == ContentBlocked.code else job.safety,
    }
    if show_prompt:
        facts["prompt"] = request.prompt
    # As JSON, so that a line break in a prompt cannot forge a log line.
    fields = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    log.info("Job ended: %s", fields, extra={**facts, **log_context(job)})


def log_context(job: RunningJob) -> dict[str, str]:
    """The job's id, and the id of the request that submitted it when known, as `extra` of a log line."""
    found = {"job_id": job.claim.job_id}
    return found if job.claim.request_id is None else found | {"request_id": job.claim.request_id}
