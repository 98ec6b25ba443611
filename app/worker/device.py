"""The worker's device: which errors it is blamed for, and when it may be used again after one.

A device that failed is recorded in the database, and the process is replaced: after a sticky error each further call of
the process fails. The next process tests the device before it claims a job, and is `unhealthy` until a test passes. The
record is removed when the device has finished a job, so that one that passes its tests and fails its jobs is used less
and less often.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable

from app.core.backoff import Backoff
from app.core.faults import Fault, fault_of
from app.errors import CyberImageError, DatabaseUnavailable, DeviceFailed
from app.services.context import AppContext
from app.store.ops.device_faults import DeviceFault

TEST_PAUSE_SECONDS = 5.0  # after the first failed test; doubles with each further one
TEST_PAUSE_MAX_SECONDS = 300.0

log = logging.getLogger("cyberimage.worker")

DeviceTest = Callable[[threading.Event], str | None]
"""Tests the device in a process of its own; returns what is wrong, None when it works. Ends early on the event."""


class Device:
    """`id` is the device's name on this host. `error` says why it is out of service; None while it may be used."""

    def __init__(self, context: AppContext, device_id: str, test: DeviceTest) -> None:
        self.id = device_id
        self.error: str | None = None
        self._context = context
        self._host = platform.node()
        self._test = test
        self._fault: DeviceFault | None = None
        self._has_drawn = False

    def wait_until_usable(self, stopping: threading.Event, changed: Callable[[], None], *, suspect: str = "") -> None:
        """Return when the device may be used, or `stopping` is set. Calls `changed` when `error` changes.

        Without a recorded fault that is at once, unless it is `suspect` for the reason given."""
        fault = self._fault = self._read(stopping)
        if fault is None and not suspect:
            return
        self._set_error(fault.reason if fault is not None else suspect, changed)
        failures = fault.failures - 1 if fault is not None else 0  # the first one may be tested at once
        while not stopping.wait(_pause(failures)):
            problem = self._test(stopping)
            if problem is None:
                log.info("The device %s passed its test and is used again", self.id)
                self._set_error(None, changed)
                return
            failures += 1
            log.error("The device %s failed its test: %s; next test in %g s", self.id, problem, _pause(failures))
            self._set_error(problem, changed)

    def attribute(self, error: Exception, job_id: str) -> Exception:
        """`error` of a job that the engine ran, as DeviceFailed when the device or this process is to blame; the fault
        is recorded then, and the process must be replaced.

        An error of a known text is clear. An unexpected one is blamed on the job when it is the first that this process
        ran, and on the process otherwise: the job is given back, and is the first that the next process runs. If two
        different jobs fail without a success between them, it is not the jobs."""
        fault = fault_of(error)
        if isinstance(error, CyberImageError):
            blamed = fault in (Fault.DEVICE, Fault.PROCESS)
        else:
            blamed = fault in (Fault.DEVICE, Fault.PROCESS) or (fault is None and not self._must_be_the_job(job_id))
        if not blamed:
            if fault is None and not isinstance(error, CyberImageError):
                self._has_drawn = True  # a second one in this process is of another job
            return error
        log.error("The device or this process failed; the job is given back", exc_info=error, extra={"job_id": job_id})
        reason = describe(error)
        self.record(job_id, reason)
        failed = DeviceFailed(f"The device or the worker process failed while it ran this job ({reason}).")
        failed.__cause__ = error
        return failed

    def blames(self, error: Exception) -> bool:
        """Whether `error` says by its text that the device or the process is at fault."""
        return fault_of(error) in (Fault.DEVICE, Fault.PROCESS)

    def record(self, job_id: str | None, reason: str) -> None:
        """Record the fault, so that the next process tests the device."""
        try:
            self._context.device_faults.record(self._host, self.id, job_id=job_id, reason=reason)
        except DatabaseUnavailable as unreachable:  # the next process finds out by itself
            log.error("The fault of the device %s could not be recorded: %s", self.id, unreachable.detail)

    def drew(self) -> None:
        """The engine has finished a job."""
        self._has_drawn = True
        if self._fault is None:
            return
        try:
            self._context.device_faults.clear(self._host, self.id)
        except DatabaseUnavailable:  # the next job does it
            return
        self._fault = None

    def _must_be_the_job(self, job_id: str) -> bool:
        first = not self._has_drawn
        return first and (self._fault is None or self._fault.job_id in (None, job_id))

    def _read(self, stopping: threading.Event) -> DeviceFault | None:
        while not stopping.is_set():
            try:
                return self._context.device_faults.get(self._host, self.id)
            except DatabaseUnavailable as error:
                log.warning("Cannot read whether the device %s works: %s", self.id, error.detail)
                stopping.wait(self._context.settings.worker_poll_seconds)
        return None

    def _set_error(self, error: str | None, changed: Callable[[], None]) -> None:
        self.error = error
        changed()


def describe(error: BaseException) -> str:
    """The first line of the text. Unexpected errors show their type only: the text may hold paths."""
    cause: BaseException = error
    while fault_of(cause) is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines()
    return lines[0][:200] if lines and fault_of(cause) is not None else type(cause).__name__


def _pause(failures: int) -> float:
    return Backoff(TEST_PAUSE_SECONDS, TEST_PAUSE_MAX_SECONDS).seconds(failures) if failures else 0.0
