"""The worker loop: claims and runs jobs of one lane. Concurrency is decided by its executor."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from app.core.catalog import Lane, ModelSpec
from app.core.job import Claim
from app.core.load_requests import LoadRequest
from app.engines.base import Engine, EngineFactory
from app.engines.registry import engine_for
from app.errors import Cancelled, DatabaseUnavailable, OutOfMemory
from app.monitoring.failpoints import failpoint
from app.monitoring.fault_log import database_faults
from app.monitoring.resources import rss_bytes
from app.process.worker_id import new_suffix, worker_id
from app.services.context import AppContext
from app.services.models.own_capabilities import DeviceFacts, own_capabilities
from app.services.ops.maintenance import Maintenance
from app.services.ops.reload import reload_settings
from app.store.queue.workers import WorkerReport
from app.worker.assignment import Assignment
from app.worker.capability_report import CapabilityReport
from app.worker.device import Device, DeviceTest, describe
from app.worker.executor import InlineExecutor, JobExecutor
from app.worker.finalizer import JobFinalizer, to_public_error
from app.worker.heartbeat import Heartbeat
from app.worker.job_log import MetricsBuffer
from app.worker.model_commands import IdleModels, ModelCommands
from app.worker.refusals import Refusals
from app.worker.runner import Runner
from app.worker.running_job import RunningJob
from app.worker.warmup import Warmup
from app.worker.watchdog import Watchdog, time_limit, unlimited

log = logging.getLogger("cyberimage.worker")


class BackgroundThread(Protocol):
    """A daemon thread that is started and stopped with the worker."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Worker:
    """Claims jobs of `lane` only. `factories` create the engines; `device` is its kind in reports. With a `device_test`
    it answers for its device (see `worker.device`), which is tested at once if it is `suspect` for a reason.
    `suffix` is the part of its id that its supervisor chose, `facts` what is known of the device."""

    def __init__(
        self,
        context: AppContext,
        factories: Mapping[str, EngineFactory],
        device: str,
        *,
        lane: Lane = "local",
        executor: JobExecutor | None = None,
        device_test: DeviceTest | None = None,
        suspect: str = "",
        suffix: str = "",
        facts: DeviceFacts | None = None,
    ) -> None:
        self.id = worker_id(platform.node(), os.getpid(), suffix or new_suffix())
        self._context = context
        self._factories = factories
        self._kind = device
        self._device = None if device_test is None else Device(context, device_id(device), device_test)
        self._refusals = None if self._device is None else Refusals(context, self._device.id)
        self._suspect = suspect
        self._lane = lane
        self._executor: JobExecutor = executor or InlineExecutor()
        self._engines: list[Engine] = []
        self._resident: Sequence[dict[str, Any]] = ()
        self._draining = threading.Event()
        self._counts = MetricsBuffer()
        self._idle = IdleModels(lambda: context.settings.model_idle_seconds)
        self._heartbeat = Heartbeat(context, self._report, self._counts)
        self._watchdog = Watchdog(self._heartbeat.jobs)
        self._finalizer = JobFinalizer(context, self._heartbeat, self._counts, self._refusals)
        self._runner = Runner(
            context,
            self._heartbeat,
            self._engine_of,
            self._finalizer,
            self._counts,
            limit=time_limit if lane == "local" else unlimited,
            device=self._device,
        )
        own = partial(own_capabilities, context, lane, facts or DeviceFacts(device))
        self._capabilities = CapabilityReport(own, self._note_capabilities)
        self._assignment = Assignment(context, self.id, lane, self._capabilities)
        self._commands = ModelCommands(context, self.id, self._draining, self._engine_of, self._engines)
        self._loading = False
        self._starting = lane == "local"
        self._maintenance = Maintenance(context)
        self._threads: list[BackgroundThread] = [self._capabilities]
        self.jobs_run = 0  # those that were begun, each attempt counted

    def add_thread(self, thread: BackgroundThread) -> None:
        """Start and stop `thread` with this worker."""
        self._threads.append(thread)

    def jobs(self) -> list[RunningJob]:
        """The jobs that this worker is running."""
        return self._heartbeat.jobs()

    def run(self, *, until_idle: bool = False) -> bool:
        """Claim and run jobs until `stop` was called and the running jobs have ended or were requeued; with
        `until_idle` also until there is nothing to claim now.

        Returns True if it stopped early because a new process should replace this one.
        """
        listener = self._context.notifications.subscribe("work")
        self._capabilities.update()
        self._heartbeat.start()
        self._watchdog.start()
        self._maintenance.start()
        for thread in self._threads:
            thread.start()
        try:
            self._wait_for_device()
            if not until_idle:
                self._warm_up()
            self._starting = False
            self._heartbeat.request_beat()
            log.info("Worker %s is ready on %s", self.id, self._kind)
            while not self._draining.is_set() and not self._finalizer.must_recycle:
                ran = self._executor.has_room(self._context.settings.worker_poll_seconds) and self._run_next()
                if self._finalizer.must_recycle:  # its device may be broken: no more calls
                    break
                self._unload_idle()
                if self._lane == "local":  # remote models have no memory to load into
                    ran |= self._run_model_command(busy=ran)
                if until_idle and not ran and not self.jobs():
                    break
                if not ran and self._executor.has_room(0):
                    listener.wait(self._context.settings.worker_poll_seconds)
        except Exception:
            log.exception("The worker failed")  # into the log files; the supervisor starts a new process
            raise
        finally:
            listener.close()
            self._shut_down()
        return self._finalizer.must_recycle

    def reload(self) -> None:
        """Apply changed settings. Like `stop`, not to be called from a signal handler."""
        log.info("Reading the settings again")
        reload_settings(self._context)

    def stop(self, grace: float) -> None:
        """Claim no more jobs; running ones may finish within `grace` seconds, then they are requeued.

        Not to be called from a signal handler: it takes locks that the interrupted thread may hold.
        """
        self._draining.set()
        self._context.notifications.publish("work")  # wakes our own wait
        self._heartbeat.request_beat()
        timer = threading.Timer(grace, self._heartbeat.release_jobs)
        timer.daemon = True
        timer.start()

    @property
    def device_failed(self) -> bool:
        """Whether the device failed in this process, which must then use it no more, not even to free its memory."""
        return self._finalizer.device_failed

    def _wait_for_device(self) -> None:
        if self._device is not None:
            self._device.wait_until_usable(self._draining, self._heartbeat.request_beat, suspect=self._suspect)

    def _warm_up(self) -> None:
        """Import and load what PRELOAD says, before the first claim."""
        if self._lane != "local" or self._draining.is_set():
            return
        device = self._device
        error = Warmup(self._context, self._engine_of, self._draining).run(
            blames_device=lambda error: device is not None and device.blames(error)
        )
        if error is not None and device is not None:
            log.error("The device failed while models were loaded (PRELOAD)", exc_info=error)
            device.record(None, describe(error))
            self._finalizer.note_device_failure()
            return
        self._update_resident()
        for model_id in _ready_ids(self._resident):
            self._idle.used(model_id)

    def _run_next(self) -> bool:
        if (
            self._finalizer.storage_pause.holds() or self._draining.is_set()
        ):  # `stop` freed the slot that was waited for
            return False
        try:
            left = self._refusals.left() if self._refusals is not None else {}
            ready = _ready_ids(self._resident)
            judge = self._assignment.judge(ready, left)
            claim = self._context.claims.claim(self.id, ready, lane=self._lane, judge=judge)
        except DatabaseUnavailable as error:
            database_faults.add(log, logging.WARNING, "Cannot claim a job: %s", error.detail)
            self._draining.wait(self._context.settings.worker_poll_seconds)
            return False
        if claim is None:
            return False
        claims = [claim, *self._claim_to_merge(claim)]
        for each in claims:
            log.info("Claimed, attempt %s: %s", each.attempt, each.request.model_id, extra={"job_id": each.job_id})
        failpoint("after_claim")
        for each in claims:
            self._context.notifications.publish("news", each.job_id)
        if self._draining.is_set():  # `stop` was called while the database answered
            for each in claims:
                self._runner.release(each)
        else:
            self.jobs_run += len(claims)
            self._executor.submit(lambda: self._run(claims))
        return True

    def _claim_to_merge(self, claim: Claim) -> Sequence[Claim]:
        """Jobs to merge into one call with `claim`. None while the model is not in memory: the job that loads it runs
        alone."""
        most = self._context.settings.merge_jobs
        if most == 1 or claim.request.model_id not in _ready_ids(self._resident) or not self._runner.may_merge(claim):
            return ()
        try:
            return self._context.claims.claim_to_merge(claim, most - 1)
        except DatabaseUnavailable as error:  # if they were claimed nevertheless, their leases expire
            database_faults.add(log, logging.WARNING, "Cannot claim jobs to merge: %s", error.detail)
            return ()

    def _run(self, claims: Sequence[Claim]) -> None:
        if len(claims) == 1:
            self._runner.run(claims[0])
        else:
            self._runner.run_merged(claims)
        for model_id in claims[0].request.models_used:
            self._idle.used(model_id)
        if not self._finalizer.device_failed:
            self._update_resident()

    def _run_model_command(self, *, busy: bool) -> bool:
        """Carry out one load or unload request, between jobs; True if there was one."""
        try:
            request = None if self._draining.is_set() else self._commands.next(busy=busy)
            if request is None:
                return False
            log.info("Load request: %s %s", request.action.value, request.model_id or "all models")
            self._loading = True
            self._heartbeat.request_beat()
            self._carry_out(request)
        except DatabaseUnavailable as error:  # the request expires, and its client gets an error
            database_faults.add(log, logging.WARNING, "Cannot carry out load requests: %s", error.detail)
            return False
        finally:
            self._loading = False
            self._heartbeat.request_beat()
        self._context.notifications.publish("news", request.id)
        return True

    def _carry_out(self, request: LoadRequest) -> None:
        requests = self._context.load_requests
        try:
            was_resident = self._commands.carry_out(request, _ready_ids(self._resident))
        except Cancelled:
            self._update_resident()
            requests.release(request)
            return
        except Exception as error:
            if self._device is not None and self._device.blames(error):
                log.error("The device failed: %s %s", request.action.value, request.model_id, exc_info=error)
                self._device.record(None, describe(error))
                self._finalizer.note_device_failure()
                requests.release(request)
                return
            known = to_public_error(error, {})
            log.error("Could not %s %s: %s", request.action.value, request.model_id, known.detail)
            self._finalizer.must_recycle |= isinstance(known, OutOfMemory)
            self._update_resident()
            requests.failed(request, known)
            return
        if request.model_id is not None:
            self._idle.used(request.model_id)
        self._update_resident()
        self._heartbeat.write_row()  # before the request is done, so that the next reader sees the model
        requests.done(request, was_resident=was_resident)

    def _shut_down(self) -> None:
        if not self._draining.is_set():  # it failed, or a new process is to replace it
            self._heartbeat.release_jobs()
        self._executor.finish()
        self._runner.finish(timeout=60)
        for thread in (*self._threads, self._maintenance):
            thread.stop()
        self._watchdog.stop()
        self._heartbeat.stop()
        self._heartbeat.join(timeout=5)
        try:
            self._heartbeat.write_counts()
            self._context.workers.remove(self.id)
        except DatabaseUnavailable:
            log.warning("Could not remove the worker's row; it expires by itself")
        log.info("Worker %s has stopped", self.id)

    def _engine_of(self, spec: ModelSpec) -> Engine:
        engine = engine_for(spec, self._factories)
        if engine not in self._engines:
            self._engines.append(engine)
        return engine

    def _update_resident(self) -> None:
        """Update the list of models in memory. Called between jobs: the heartbeat's thread must not use an engine."""
        resident = [vars(model) for engine in self._engines for model in engine.resident()]
        if resident != self._resident:
            self._counts.resident(_ready_ids(self._resident), _ready_ids(resident))
            self._resident = resident
            self._heartbeat.request_beat()
            self._capabilities.ask()  # a model may have been downloaded

    def _unload_idle(self) -> None:
        overdue = self._idle.overdue([model["model_id"] for model in self._resident])
        for model_id in overdue:
            log.info(
                "%s has been idle for %g s (MODEL_IDLE_SECONDS)",
                model_id,
                self._context.settings.model_idle_seconds,
            )
            for engine in self._engines:
                engine.unload(model_id)
        if overdue:
            self._update_resident()

    def _report(self) -> WorkerReport:
        jobs = self._heartbeat.jobs()
        state = self._state(busy=bool(jobs))  # before the models: one that is ready has what was loaded at its start
        models = self._resident
        device_error = self._device.error if self._device is not None else None
        return WorkerReport(
            id=self.id,
            host=platform.node(),
            pid=os.getpid(),
            device=self._kind,
            state=state,
            job_id=jobs[0].claim.job_id if jobs else None,
            models=models,
            rss_bytes=rss_bytes(),
            vram_bytes=sum(model["device_bytes"] for model in models if model["device"] != "cpu"),
            lane=self._lane,
            slots=0 if device_error else self._executor.slots,
            running=len(jobs),
            device_id=self._device.id if self._device is not None else "",
            device_error=device_error,
            capabilities=self._capabilities.current,
        )

    def _note_capabilities(self) -> None:
        """Tell the others, and look again at what waits."""
        self._heartbeat.request_beat()
        self._context.notifications.publish("work")

    def _state(self, *, busy: bool) -> str:
        if self._draining.is_set():
            return "draining"
        if self._device is not None and self._device.error is not None:
            return "unhealthy"
        if self._starting:
            return "starting"
        return "busy" if busy else "loading" if self._loading else "idle"


def device_id(kind: str) -> str:
    """The device's name on this host: of a GPU, what CUDA_VISIBLE_DEVICES says."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    return f"{kind}:{visible or 0}"[:128] if kind == "cuda" else kind


def _ready_ids(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of models ready to run: parked ones have to return to the device first."""
    return [model["model_id"] for model in models if not model["parked"]]
