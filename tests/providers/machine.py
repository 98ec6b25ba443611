"""The model-based test of predictions: rules for hypothesis, with a provider that does everything wrong.

Whatever happens: no job's prediction is created again while one runs or after one has succeeded, unless the job was
cancelled; what has succeeded is delivered; and what is reported is true.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter, deque
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image

from app.core.job import Claim, JobStatus
from app.engines.remote import RemoteSettings
from app.engines.replicate.engine import ReplicateEngine
from app.errors import CyberImageError
from app.providers.calls import ProviderFault
from app.services.jobs import cancel
from app.services.media.publish import publish
from app.worker.abandoned_predictions import AbandonedPredictions
from app.worker.finalizer import JobFinalizer
from app.worker.job_log import MetricsBuffer
from app.worker.publisher import Finished
from app.worker.runner import Runner
from app.worker.running_job import RunningJob, StopReason
from tests.providers.fake_world import Course, Hang, World
from tests.worker.harness import Harness

TIMEOUT_SECONDS = 60
MEMORY = Path("/dev/shm")  # waiting for a disk is not what is tested
FAILPOINTS = ("after_intent", "after_create", "after_created_stored", "after_ended", "after_download", "before_commit")
SETTINGS = {
    "REPLICATE_API_TOKEN": "r8_none",
    "REMOTE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
    "PUBLIC_URL": "https://pictures.example",
    "MODEL_PAINTER": "painter;acme/painter;Painter;replicate;false",
    "MODEL_SIZED": "sized;acme/sized;Sized;replicate;false",
    "MAX_ATTEMPTS": "50",
}
CREATES = st.lists(st.sampled_from(("ok", "down", "cut", "busy", "hang")), max_size=2)
_FAULTS = ("ok", "ok", "stale", "down", "cut", "busy", "refused", "hang")
CALLS = st.lists(st.sampled_from(_FAULTS), max_size=6) | st.just(["ok"] + ["down"] * 40)
FILES = st.lists(st.sampled_from(("whole", "503", "cut", "garbage", "404", "stall")), max_size=5) | st.sampled_from(
    (["404"] * 3, ["garbage"] * 3, ["503"] * 3)
)
COURSES = st.builds(
    Course,
    seconds=st.sampled_from((0.2, 3.0, 20.0, 200.0)),
    ends=st.sampled_from(("succeeded", "succeeded", "succeeded", "failed", "aborted")),
    webhooks=st.lists(st.sampled_from((0.0, 0.1, 4.0, 4.0, 30.0, 300.0)), max_size=3).map(tuple),
)


class Crash(BaseException):
    """The process is killed here."""


class _Wakeup:
    """The event that a running job waits on; waiting lets the world's time pass."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wait(self, seconds: float) -> bool:
        self._world.advance(max(seconds, 0.01))
        return False

    def set(self) -> None: ...

    def clear(self) -> None: ...


class _Heartbeat:
    """Sees cancels and lost leases of the one running job, whenever time passes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, job: RunningJob) -> None:
        def tick() -> None:
            beat = self._world.context.claims.check(job.claim)
            if not beat.owned or beat.cancel_requested:
                job.stop(StopReason.CANCELLED if beat.owned else StopReason.LOST)

        self._world.tick = tick

    def remove(self, job: RunningJob) -> None:
        self._world.tick = lambda: None


class _Publisher:
    def __init__(self, finalizer: JobFinalizer, world: World) -> None:
        self._finalizer = finalizer
        self._world = world

    def put(self, finished: Finished) -> None:
        error: Exception | None = None
        try:
            publish(self._world.context, finished.job.claim, finished.made)
        except Exception as raised:  # noqa: BLE001 - as in app.worker.publisher
            error = raised
        self._finalizer.end(finished.job, error)


class PredictionMachine(RuleBasedStateMachine):
    template: Path  # an empty database
    tally: Counter[str] = Counter()  # over all runs

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self._open = contextlib.ExitStack()
        self.harness = Harness(self._folder, self.template, **SETTINGS)
        self.world = World(self.harness.context)
        self.jobs: list[str] = []
        self._checked: set[str] = set()
        self._crash_at: str | None = None
        self._patch()
        settings = RemoteSettings(
            fetch=self.world.fetch,
            open_picture=lambda _: None,  # type: ignore[arg-type, return-value]
            timeout_seconds=TIMEOUT_SECONDS,
            public_url=SETTINGS["PUBLIC_URL"],
        )
        self.engine = ReplicateEngine(settings)
        self.engine._api = self.world  # type: ignore[assignment]
        self.sweeper = AbandonedPredictions(self.harness.context, self.engine)
        heartbeat, counts = _Heartbeat(self.world), MetricsBuffer()
        finalizer = JobFinalizer(self.harness.context, heartbeat, counts)  # type: ignore[arg-type]
        self.runner = Runner(
            self.harness.context,
            heartbeat,  # type: ignore[arg-type]
            lambda _: self.engine,
            finalizer,
            counts,
        )
        self.runner.finish(60)
        self.runner._publisher = _Publisher(finalizer, self.world)  # type: ignore[assignment]
        self.runner._limit = lambda _: contextlib.nullcontext()

    def _patch(self) -> None:
        replicate = [f"app.engines.replicate.{name}" for name in ("create", "engine", "poll", "retry")]
        for module in (*replicate, "app.engines.remote"):
            self._open.enter_context(patch(f"{module}.time", self.world))
        for module in ("app.engines.replicate.retry", "app.engines.remote"):
            self._open.enter_context(patch(f"{module}.run_interruptibly", self.world.run))
        for module in ("app.engines.replicate.create", "app.engines.replicate.engine", "app.services.media.publish"):
            self._open.enter_context(patch(f"{module}.failpoint", self._failpoint))
        self._open.enter_context(patch("app.worker.runner.RunningJob", self._running))

    def _running(self, claim: Claim, predictions: Any) -> RunningJob:
        job = RunningJob(claim, predictions)
        job.wakeup = _Wakeup(self.world)  # type: ignore[assignment]
        return job

    def _failpoint(self, name: str) -> None:
        if name == self._crash_at:
            raise Crash

    # --- rules

    @initialize(echoes=st.booleans())
    def start(self, echoes: bool) -> None:
        self.world.echoes_webhooks = echoes

    @rule(model=st.sampled_from(("painter", "sized")), course=COURSES)
    def submit(self, model: str, course: Course) -> None:
        self.world.courses.append(course)
        self.jobs.append(self.harness.submit(f"job {len(self.jobs)}", model_id=model))

    @rule(creates=CREATES, calls=CALLS, files=FILES, crash=st.none() | st.sampled_from(FAILPOINTS))
    def work(self, creates: list[str], calls: list[str], files: list[str], crash: str | None) -> None:
        """A worker takes the next job; it may die on the way."""
        self.world.creates, self.world.calls, self.world.files = deque(creates), deque(calls), deque(files)
        self._crash_at = crash
        self._run_next()
        self._heal()

    @rule(model=st.sampled_from(("painter", "sized")), course=COURSES, creates=CREATES, calls=CALLS, files=FILES)
    def submit_and_work(
        self, model: str, course: Course, creates: list[str], calls: list[str], files: list[str]
    ) -> None:
        self.submit(model, course)
        self.work(creates, calls, files, None)

    @precondition(lambda self: any(self._status(job) is JobStatus.FAILED for job in self.jobs))
    @rule(data=st.data())
    def retry_a_failed_one(self, data: st.DataObject) -> None:
        failed = [job for job in self.jobs if self._status(job) is JobStatus.FAILED]
        cancel.retry(self.harness.context, data.draw(st.sampled_from(failed)))
        self._run_next()

    @rule(seconds=st.sampled_from((1.0, 30.0, 70.0, 400.0, 1800.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(calls=CALLS)
    def sweep(self, calls: list[str]) -> None:
        self.world.calls = deque(calls)
        with contextlib.suppress(ProviderFault, Hang):
            self.sweeper.sweep()
        self._heal()

    @precondition(lambda self: self.world.truths)
    @rule(data=st.data())
    def webhook(self, data: st.DataObject) -> None:
        """Again, or late."""
        self.world.deliver(data.draw(st.sampled_from(self.world.truths)))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        with contextlib.suppress(CyberImageError):
            cancel.cancel(self.harness.context, job_id)
            self.world.cancelled.add(job_id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        with contextlib.suppress(CyberImageError):
            cancel.retry(self.harness.context, data.draw(st.sampled_from(self.jobs)))

    # --- what must hold

    @invariant()
    def count_steps(self) -> None:
        self.tally["steps"] += 1

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        assert not self.world.violations, self.world.violations

    @invariant()
    def what_is_reported_is_true(self) -> None:
        for job_id in self.jobs:
            self._check_prediction(job_id)
            if job_id not in self._checked and self._status(job_id) is JobStatus.COMPLETED:
                self._checked.add(job_id)
                self._check_picture(job_id)

    def _check_prediction(self, job_id: str) -> None:
        known = self.harness.context.predictions.of_job(job_id)
        if known is not None and known.provider_id is not None:
            truth = self.world._find(known.provider_id)
            assert truth.job_id == job_id
            assert truth.input == known.input
            assert not known.status.terminal or known.status == truth.status

    def _check_picture(self, job_id: str) -> None:
        view = self.harness.view(job_id)
        truth = self.world._find(view.prediction.provider_id)  # type: ignore[union-attr, arg-type]
        assert (truth.job_id, truth.status) == (job_id, "succeeded")
        (output,) = view.outputs
        with Image.open(self.harness.context.images.path(output.path)) as picture:
            assert picture.getpixel((1, 1)) == truth.colour
        assert output.seed == truth.input.get("seed")
        assert output.manifest["settings"]["seed"] == truth.input.get("seed")
        assert output.manifest["settings"]["num_inference_steps"] is None

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            self._open.close()
            self.harness.close()
            shutil.rmtree(self._folder)

    def _settle(self) -> None:
        """When all faults are over, what has succeeded is delivered: at once, or after a retry by a person."""
        kept = {t.job_id for t in self.world.truths if t.status == "succeeded" and self._has_files(t)}
        self.world.frozen = True
        self._heal()
        for final in (False, True):
            self._run_all()
            for job_id in kept:
                if not final and self._status(job_id) is JobStatus.FAILED:
                    cancel.retry(self.harness.context, job_id)
        self.nothing_is_paid_for_twice()
        self.what_is_reported_is_true()
        self.tally.update(["runs", *(f"jobs {self._end(job)}" for job in self.jobs)])
        self.tally.update(f"predictions {truth.status}" for truth in self.world.truths)
        lost = {job_id: self.harness.view(job_id) for job_id in kept if self._status(job_id) is JobStatus.FAILED}
        assert not lost, lost
        assert not [job for job in self.jobs if not self._status(job).terminal]

    def _has_files(self, truth: Any) -> bool:
        return self.world.now - truth.ended <= 3000

    def _heal(self) -> None:
        for plan in (self.world.creates, self.world.calls, self.world.files):
            plan.clear()
        self._crash_at = None

    def _run_all(self) -> None:
        for _ in range(1000):
            if all(self._status(job).terminal for job in self.jobs):
                return
            self.world.advance(300.0)
            self.sweeper.sweep()
            while self._run_next():
                pass

    def _run_next(self) -> bool:
        claims = self.harness.context.claims
        claim = claims.claim("w", lane="remote")
        if claim is None:
            return False
        try:
            self.runner.run(claim)
        except Crash:
            self.world.tick = lambda: None
            with self.harness.context.database.write(durable=False) as connection:
                connection.exec_driver_sql("UPDATE jobs SET lease_expires_at = 0 WHERE status = 'PROCESSING'")
            claims.expire_leases()
        return True

    def _end(self, job_id: str) -> str:
        job = self.harness.context.jobs.get(job_id)
        return job.status + (f" {job.error_code}" if job.error_code else "")

    def _status(self, job_id: str) -> JobStatus:
        return self.harness.context.jobs.get(job_id).status
