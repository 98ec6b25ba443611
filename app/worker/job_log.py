"""What is recorded of jobs that ended in this worker: one line each in the job log, and metrics buffered between two
heartbeats (steps, images, seconds by phase, model loads and unloads)."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter as Totals
from collections.abc import Collection, Mapping
from typing import Any

from app.core.memory_use import megabytes
from app.core.safety import SafetyResult
from app.core.trace_context import parse
from app.errors import ContentBlocked
from app.monitoring.phases import bound_of
from app.store.ops.counters import Counter
from app.worker.running_job import RunningJob

log = logging.getLogger("cyberimage.jobs")


def log_ended(job: RunningJob, outcome: str, *, show_prompt: bool) -> None:
    """Log the end of `job`. `outcome` is completed, cancelled, or the code of the error it FAILED with."""
    request = job.claim.request
    facts: dict[str, Any] = {
        "outcome": outcome,
        "model_id": request.model_id,
        "seed": job.seed,
        "latency_ms": round(1000 * (job.claim.queued_seconds + time.monotonic() - job.started)),
        "vram_peak_mb": megabytes(job.vram_peak_bytes),
        "safety_filter_result": SafetyResult.BLOCKED if outcome == ContentBlocked.code else job.safety,
    }
    if job.memory is not None:
        facts |= job.memory.fields()
    if show_prompt:
        facts["prompt"] = request.prompt
    # As JSON, so that a line break in a prompt cannot forge a log line.
    fields = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    log.info("Job ended: %s", fields, extra={**facts, **log_context(job)})


def log_context(job: RunningJob) -> dict[str, str]:
    """The job's id, and those of the request that submitted it and of its trace when known, as `extra` of a log
    line."""
    found = {"job_id": job.claim.job_id}
    if job.claim.request_id is not None:
        found["request_id"] = job.claim.request_id
    trace = parse(job.claim.traceparent)
    return found if trace is None else found | {"trace_id": trace.trace_id}


class MetricsBuffer:
    """Thread-safe; filled by the worker's threads, flushed to the database by the heartbeat."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: Totals[Counter] = Totals()

    def completed(self, model_id: str, *, steps: int, images: int, timings: Mapping[str, float]) -> None:
        """Count a published job of `model_id`; `timings` are its seconds by phase."""
        found: Totals[Counter] = Totals({Counter("steps", model_id): steps, Counter("images", model_id): images})
        for phase, seconds in timings.items():
            found[Counter("phase_seconds", model_id, phase)] += seconds  # type: ignore[assignment]
            found[Counter("phase_bucket", model_id, f"{phase}/{bound_of(seconds)}")] += 1
        self.add(found)

    def merged(self, model_id: str) -> None:
        """Count a published job of `model_id` that was merged with others into one call."""
        self.add({Counter("jobs_merged", model_id): 1})

    def encoded(self, model_id: str, answers: Mapping[str, int]) -> None:
        """Count the encodings of prompts of `model_id` by how they were answered: `computed` or `reused`."""
        self.add({Counter("prompt_encodings", model_id, answer): number for answer, number in answers.items()})

    def resident(self, before: Collection[str], after: Collection[str]) -> None:
        """Count the change of the models in memory from `before` to `after` by running a job."""
        loaded, unloaded = set(after) - set(before), set(before) - set(after)
        found = [Counter("model_loads", model) for model in loaded]
        found += [Counter("model_unloads", model) for model in unloaded]
        if loaded and unloaded:  # one was unloaded to make room for the other
            found += [Counter("model_swaps", model) for model in loaded]
        self.add(Totals(found))

    def add(self, found: Mapping[Counter, float]) -> None:
        with self._lock:
            self._totals.update(found)

    def take(self) -> Mapping[Counter, float]:
        """Empty the buffer and return its contents. Return them with `add` when they could not be written."""
        with self._lock:
            taken, self._totals = self._totals, Totals()
        return taken
