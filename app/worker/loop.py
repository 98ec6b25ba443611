"""A worker: claim, run, repeat. One process and one lane; how many jobs at a time is its crew's to say."""

from __future__ import annotations

import logging
import os
import platform
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.core.catalog import Lane, ModelSpec
from app.core.job import Claim
from app.core.load_requests import LoadRequest
from app.engines.base import Engine, EngineFactory
from app.engines.registry import engine_for
from app.errors import Cancelled, DatabaseUnavailable, OutOfMemory
from app.monitoring.failpoints import failpoint
from app.monitoring.resources import rss_bytes
from app.services.context import AppContext
from app.services.ops.maintenance import Maintenance
from app.services.ops.reload import reload_settings
from app.store.queue.workers import WorkerReport
from app.worker.executor import InlineExecutor, JobExecutor
from app.worker.heartbeat import Heartbeat
from app.worker.idle_models import IdleModels
from app.worker.metrics_buffer import MetricsBuffer
from app.worker.model_commands import ModelCommands
from app.worker.runner import Runner, as_known
from app.worker.running_job import RunningJob, StopReason
from app.worker.watchdog import Watchdog, time_limit, unlimited

log = logging.getLogger("cyberimage.worker")


class Companion(Protocol):
    """A thread of its own beside the work. It can be given up at any moment."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Worker:
    """`factories` make the engines; `device` is what it is called in reports. It takes jobs of `lane` alone."""

    def __init__(
        self,
        context: AppContext,
        factories: Mapping[str, EngineFactory],
        device: str,
        *,
        lane: Lane = "local",
        executor: JobExecutor | None = None,
    ) -> None:
        self.id = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"[:64]
        self._context = context
        self._factories = factories
        self._device = device
        self._lane = lane
        self._executor: JobExecutor = executor or InlineExecutor()
        self._engines: list[Engine] = []
        self._resident: Sequence[dict[str, Any]] = ()
        self._draining = threading.Event()
        self._counts = MetricsBuffer()
        self._idle = IdleModels(lambda: context.settings.model_idle_seconds)
        self._heartbeat = Heartbeat(context, self._describe, self._counts)
        self._watchdog = Watchdog(self._heartbeat.held)
        self._runner = Runner(
            context,
            self._heartbeat,
            self._engine_of,
            self._counts,
            limit=time_limit if lane == "local" else unlimited,
        )
        self._commands = ModelCommands(context, self.id, self._draining, self._engine_of, self._engines)
        self._on_errand = False
        self._maintenance = Maintenance(context)
        self._companions: list[Companion] = []

    def add_companion(self, companion: Companion) -> None:
        """Start and stop `companion` with this worker."""
        self._companions.append(companion)

    def held(self) -> list[RunningJob]:
        return self._heartbeat.held()

    def run(self) -> bool:
        """Work until `stop` was called and the running job has ended or was given back.

        Returns whether the process gave up early because a fresh one should replace it.
        """
        listener = self._context.notifications.subscribe("work")
        self._heartbeat.start()
        self._watchdog.start()
        self._maintenance.start()
        for companion in self._companions:
            companion.start()
        log.info("Worker %s is ready on %s", self.id, self._device)
        try:
            while not self._draining.is_set() and not self._runner.must_recycle:
                ran = self._executor.has_room(self._context.settings.worker_poll_seconds) and self._run_next()
                self._unload_idle()
                if self._lane == "local":  # models of the other are in nobody's memory
                    ran |= self._run_errand(busy=ran)
                if not ran and self._executor.has_room(0):
                    listener.wait(self._context.settings.worker_poll_seconds)
        except Exception:
            log.exception("The worker broke down")  # into the log files; a fresh process may do better
            raise
        finally:
            listener.close()
            self._leave()
        return self._runner.must_recycle

    def reload(self) -> None:
        """Take over changed settings. Like `stop`, not for a signal handler."""
        log.info("Reading the settings again")
        reload_settings(self._context)

    def stop(self, grace: float) -> None:
        """Take no more jobs; a running one may finish within `grace` seconds, then it goes back to the queue.

        Not for a signal handler: it takes locks that the interrupted thread may hold.
        """
        self._draining.set()
        self._context.notifications.publish("work")  # wakes our own wait
        self._heartbeat.beat_soon()
        timer = threading.Timer(grace, self._give_back)
        timer.daemon = True
        timer.start()

    def _run_next(self) -> bool:
        try:
            claim = self._context.claims.claim(self.id, _ids(self._resident), lane=self._lane)
        except DatabaseUnavailable as error:
            log.warning("Cannot ask for work: %s", error.detail)
            self._draining.wait(self._context.settings.worker_poll_seconds)
            return False
        if claim is None:
            return False
        claims = [claim, *self._claim_alike(claim)]
        for each in claims:
            log.info("Claimed, attempt %s: %s", each.attempt, each.request.model_id, extra={"job_id": each.job_id})
        failpoint("after_claim")
        for each in claims:
            self._context.notifications.publish("news", each.job_id)
        if self._draining.is_set():  # we were told to stop while we asked
            for each in claims:
                self._runner.give_back(each)
        else:
            self._executor.do(lambda: self._run(claims))
        return True

    def _claim_alike(self, claim: Claim) -> Sequence[Claim]:
        """Jobs to be drawn in one call with `claim`. Only with a model in memory: the one that loads it is alone."""
        most = self._context.settings.merge_jobs
        if most == 1 or claim.request.model_id not in _ids(self._resident) or not self._runner.may_merge(claim):
            return ()
        try:
            return self._context.claims.claim_batch(claim, most - 1)
        except DatabaseUnavailable as error:  # if they were ours after all, their leases run out
            log.warning("Cannot ask for jobs to merge: %s", error.detail)
            return ()

    def _run(self, claims: Sequence[Claim]) -> None:
        if len(claims) == 1:
            self._runner.run(claims[0])
        else:
            self._runner.run_merged(claims)
        self._idle.used(claims[0].request.model_id)
        self._look_at_engines()

    def _run_errand(self, *, busy: bool) -> bool:
        """Load or unload what somebody ordered; says whether there was an order. Between jobs, like everything here."""
        try:
            order = None if self._draining.is_set() else self._commands.next(busy=busy)
            if order is None:
                return False
            log.info("Ordered to %s %s", order.action.value, order.model_id or "everything")
            self._on_errand = True
            self._heartbeat.beat_soon()
            self._carry_out(order)
        except DatabaseUnavailable as error:  # the order expires, and whoever waits for it is told so
            log.warning("Cannot carry out orders: %s", error.detail)
            return False
        finally:
            self._on_errand = False
            self._heartbeat.beat_soon()
        self._context.notifications.publish("news", order.id)
        return True

    def _carry_out(self, order: LoadRequest) -> None:
        orders = self._context.load_requests
        try:
            was_resident = self._commands.carry_out(order, _ids(self._resident))
        except Cancelled:
            self._look_at_engines()
            orders.release(order)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the order must end with a result
            known = as_known(error, {})
            log.error("Could not %s %s: %s", order.action.value, order.model_id, known.detail)
            self._runner.must_recycle |= isinstance(known, OutOfMemory)
            self._look_at_engines()
            orders.failed(order, known)
            return
        if order.model_id is not None:
            self._idle.used(order.model_id)
        self._look_at_engines()
        self._heartbeat.write_row()  # before the order is done: who asks next sees it
        orders.done(order, was_resident=was_resident)

    def _give_back(self) -> None:
        for job in self._heartbeat.held():
            job.stop(StopReason.DRAINING)

    def _leave(self) -> None:
        if not self._draining.is_set():  # it broke, or a fresh one is to take over
            self._give_back()
        self._executor.finish()
        self._runner.finish(timeout=60)
        for companion in (*self._companions, self._maintenance):
            companion.stop()
        self._watchdog.stop()
        self._heartbeat.stop()
        self._heartbeat.join(timeout=5)
        try:
            self._heartbeat.write_counts()
            self._context.workers.remove(self.id)
        except DatabaseUnavailable:
            log.warning("Could not sign off; the row expires by itself")
        log.info("Worker %s has stopped", self.id)

    def _engine_of(self, spec: ModelSpec) -> Engine:
        engine = engine_for(spec, self._factories)
        if engine not in self._engines:
            self._engines.append(engine)
        return engine

    def _look_at_engines(self) -> None:
        """Note what is in memory. Here, between jobs: an engine is used by one thread, and the keeper is another."""
        resident = [vars(model) for engine in self._engines for model in engine.resident()]
        if resident != self._resident:
            self._counts.resident(_ids(self._resident), _ids(resident))
            self._resident = resident
            self._heartbeat.beat_soon()

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
            self._look_at_engines()

    def _describe(self) -> WorkerReport:
        held = self._heartbeat.held()
        models = self._resident
        state = "draining" if self._draining.is_set() else "busy" if held else "loading" if self._on_errand else "idle"
        return WorkerReport(
            id=self.id,
            host=platform.node(),
            pid=os.getpid(),
            device=self._device,
            state=state,
            job_id=held[0].claim.job_id if held else None,
            models=models,
            rss_bytes=rss_bytes(),
            vram_bytes=sum(model["device_bytes"] for model in models),
            lane=self._lane,
            slots=self._executor.slots,
            running=len(held),
        )


def _ids(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those that can draw at once: one that is parked has to come back first."""
    return [model["model_id"] for model in models if not model["parked"]]
