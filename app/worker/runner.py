"""Runs claimed jobs: calls the engine, and passes the result to the publisher or the failure to the finalizer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

from app.core.catalog import ModelSpec
from app.core.job import Claim, Phase
from app.core.memory_use import MemoryChange, MemoryUse
from app.core.request import spec_for
from app.core.rerun import RerunOf, differences
from app.core.scheduling import can_merge
from app.engines.base import Engine, Generation, MeasuringEngine, MergingEngine, PartlyDrawn
from app.errors import (
    Cancelled,
    CyberImageError,
    LeaseLost,
)
from app.monitoring.resources import rss_bytes
from app.monitoring.tracing import using
from app.services.context import AppContext
from app.services.media.publish import Clip, GenerationResult, Picture
from app.services.remote.requests import with_admitted_pictures
from app.worker import job_log
from app.worker.device import Device
from app.worker.finalizer import JobFinalizer, to_public_error
from app.worker.heartbeat import Heartbeat
from app.worker.inputs import read_inputs
from app.worker.job_log import MetricsBuffer
from app.worker.publisher import Finished, Publisher
from app.worker.running_job import MergedJob, RunningJob, StopReason
from app.worker.watchdog import time_limit

log = logging.getLogger("cyberimage.worker")

Made = TypeVar("Made")


class Runner:
    """`engine_of` returns a model's engine; `limit` enforces a job's hard deadline; `device` is None in the remote
    lane."""

    def __init__(
        self,
        context: AppContext,
        heartbeat: Heartbeat,
        engine_of: Callable[[ModelSpec], Engine],
        finalizer: JobFinalizer,
        counts: MetricsBuffer,
        limit: Callable[[RunningJob], AbstractContextManager[None]] = time_limit,
        device: Device | None = None,
    ) -> None:
        self._context = context
        self._heartbeat = heartbeat
        self._finalizer = finalizer
        self._counts = counts
        self._engine_of = engine_of
        self._limit = limit
        self._device = device
        self._publisher = Publisher(context, finalizer.end)
        self._publisher.start()
        self._merging_disabled: set[str] = set()  # models whose merged call failed or timed out

    def run(self, claim: Claim) -> None:
        """Run the job; its publication may be pending when this returns."""
        job = RunningJob(claim, self._context.predictions)
        job.trace.begin()
        self._heartbeat.add(job)
        try:
            made = self._generate(job)
        except Exception as error:  # noqa: BLE001 - the job must end with a status
            self._finalizer.end(job, self._attributed(job, error))
            return
        if self._device is not None:
            self._device.drew()
        self._publish(job, made)

    def may_merge(self, claim: Claim) -> bool:
        """Whether this job may be merged with others now. `store.queue.next_job` decides with which."""
        request = claim.request
        fresh = claim.attempt == 1 < claim.max_attempts
        if not (fresh and can_merge(request)) or request.model_id in self._merging_disabled:
            return False
        try:
            spec = spec_for(self._context.catalog, request)
            engine = self._engine_of(spec)
        except CyberImageError:  # running the job raises it again
            return False
        return isinstance(engine, MergingEngine) and engine.merges(spec)

    def run_merged(self, claims: Sequence[Claim]) -> None:
        """Run jobs with equal settings in one call. Each ends by itself; when the call fails, the remaining ones are
        requeued without losing an attempt and then run alone, so that only the one at fault fails."""
        jobs = [MergedJob(claim, self._end_stopped) for claim in claims]
        for job in jobs:
            job.trace.begin()
            self._heartbeat.add(job)
        try:
            results = self._generate_merged(jobs)
        except Exception as error:  # noqa: BLE001 - the jobs must end with a status
            self._end_merged_call(jobs, error)
            return
        if self._device is not None:
            self._device.drew()
        for job, result in zip(jobs, results, strict=True):
            if not job.ended:
                self._publish_result(job, result)

    def release(self, claim: Claim) -> None:
        """Return a job that was not started to the queue."""
        self._release(RunningJob(claim))

    def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for pending publications."""
        self._publisher.finish(timeout)

    def _generate(self, job: RunningJob) -> GenerationResult:
        spec = spec_for(self._context.catalog, job.claim.request)
        try:
            with self._limit(job), using(job.trace.context):
                inputs = read_inputs(self._context, job.claim)
                request = job.claim.request
                if request.remote is not None:
                    request = with_admitted_pictures(self._context, request, job.claim.job_id)
                generation = self._measured([job], spec, lambda engine: engine.generate(spec, request, job, inputs))
        except Cancelled as stopped:
            if job.stop_reason is None:
                raise RuntimeError("the engine raised Cancelled without a stop reason") from None
            if job.stop_reason is StopReason.EXPIRED and isinstance(stopped, PartlyDrawn):
                return self._partly_finished(job, stopped.generation)
            raise
        return self._finished(job, generation)

    def _partly_finished(self, job: RunningJob, generation: Generation) -> GenerationResult:
        """The pictures that were finished in time, with a warning about those that were not."""
        request, made = job.claim.request, len(generation.images) + len(generation.videos)
        seconds = self._context.settings.job_timeout_seconds
        missing = (
            f"Only {made} of {request.num_images} were finished within {seconds:g} seconds"
            f" (JOB_TIMEOUT_SECONDS). For the others ask again with seed {request.seed + made}."
        )
        log.warning("%s", missing, extra=job_log.log_context(job))
        return self._noted(job, replace(generation, warnings=(*generation.warnings, missing)))

    def _generate_merged(self, jobs: Sequence[MergedJob]) -> Sequence[Generation | CyberImageError]:
        requests = [job.claim.request for job in jobs]
        spec = spec_for(self._context.catalog, requests[0])

        def call(engine: Engine) -> Sequence[Generation | CyberImageError]:
            assert isinstance(engine, MergingEngine)
            return engine.generate_merged(spec, requests, jobs)

        with self._limit(jobs[0]):  # it was claimed first
            return self._measured(jobs, spec, call)

    def _measured(self, jobs: Sequence[RunningJob], spec: ModelSpec, call: Callable[[Engine], Made]) -> Made:
        """`call` with the engine of `spec`, noting in `jobs` how it changed the memory of this process."""
        rss = rss_bytes()  # before the engine is made, which imports its libraries
        engine = self._engine_of(spec)
        before = MemoryUse(rss, _vram_bytes(engine))
        for job in jobs:
            job.timings[Phase.STARTING.value] = time.monotonic() - job.started
        try:
            return call(engine)
        finally:
            for job in jobs:
                job.memory = MemoryChange(before, MemoryUse(rss_bytes(), _vram_bytes(engine)))

    def _finished(self, job: RunningJob, generation: Generation) -> GenerationResult:
        if job.stop_reason not in (None, StopReason.DRAINING):  # a finished job is published even while draining
            raise Cancelled(job.claim.job_id)
        return self._noted(job, generation)

    def _noted(self, job: RunningJob, generation: Generation) -> GenerationResult:
        """`generation` to publish; the job remembers what its log line says of it."""
        generation = replace(generation, timings={**_start_of(job), **generation.timings})
        job.timings |= generation.timings
        self._counts.encoded(job.claim.request.model_id, generation.encodings)
        job.made = len(generation.images) + len(generation.videos)
        job.vram_peak_bytes = generation.vram_peak_bytes
        job.safety = generation.safety
        if job.claim.request.remote is not None:
            seeds = [*(image.seed for image in generation.images), *(video.seed for video in generation.videos)]
            job.seed = seeds[0] if seeds else None
        return _to_made(generation, job.claim.request.rerun_of)

    def _publish_result(self, job: MergedJob, result: Generation | CyberImageError) -> None:
        try:
            if isinstance(result, CyberImageError):
                raise result
            self._publish(job, self._finished(job, result))
        except (CyberImageError, Cancelled) as error:
            self._finalizer.end(job, error)

    def _end_merged_call(self, jobs: Sequence[MergedJob], error: Exception) -> None:
        """Requeue the remaining jobs of a merged call that raised `error`."""
        if self._device is not None and self._device.blames(error):
            failed = self._attributed(jobs[0], error)
            for job in jobs:
                if not job.ended:
                    self._finalizer.end(job, failed)
            return
        model_id, left = jobs[0].claim.request.model_id, [job for job in jobs if not job.ended]
        if any(job.stop_reason is StopReason.EXPIRED for job in jobs):
            log.warning("%s jobs of %s took too long in one call (JOB_TIMEOUT_SECONDS)", len(jobs), model_id)
            self._merging_disabled.add(model_id)
        elif left:
            known = to_public_error(error, job_log.log_context(left[0]))
            log.warning("%s jobs of %s failed in one call; each runs alone: %s", len(jobs), model_id, known.detail)
            if known is not error:  # an unexpected exception
                self._merging_disabled.add(model_id)
        for job in left:
            self._release(job)

    def _end_stopped(self, job: RunningJob) -> None:
        self._finalizer.end(job, Cancelled())

    def _release(self, job: RunningJob) -> None:
        job.stop(StopReason.DRAINING)
        self._finalizer.end(job, Cancelled())

    def _attributed(self, job: RunningJob, error: Exception) -> Exception:
        """`error` as DeviceFailed when not the job is to blame."""
        stopped = isinstance(error, (Cancelled, LeaseLost)) or job.stop_reason is StopReason.LOST
        return error if self._device is None or stopped else self._device.attribute(error, job.claim.job_id)

    def _publish(self, job: RunningJob, made: GenerationResult) -> None:
        job.report(Phase.SAVING, job.claim.request.steps_run)
        self._publisher.put(Finished(job, made))


def _vram_bytes(engine: Engine) -> int | None:
    return engine.vram_bytes() if isinstance(engine, MeasuringEngine) else None


def _start_of(job: RunningJob) -> dict[str, float]:
    """The seconds from the claim to the call of the engine: reading inputs, and importing where PRELOAD is none."""
    return {phase: seconds for phase, seconds in job.timings.items() if phase == Phase.STARTING.value}


def _to_made(generation: Generation, rerun_of: RerunOf | None) -> GenerationResult:
    changes = differences(rerun_of.versions, generation.versions) if rerun_of is not None else []
    return GenerationResult(
        pictures=[Picture(image.pixels, image.seed, image.safety) for image in generation.images],
        effective=generation.effective,
        versions=generation.versions,
        timings=generation.timings,
        warnings=(*generation.warnings, *changes),
        vram_peak_bytes=generation.vram_peak_bytes,
        safety=generation.safety,
        merged=generation.merged,
        clips=[
            Clip(
                *(video.content, video.mime_type, video.poster, video.seed),
                facts={"seconds": video.seconds, "fps": video.fps},
                safety=video.safety,
            )
            for video in generation.videos
        ],
    )
