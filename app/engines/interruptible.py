"""Blocking calls that a job can leave: the call runs on a thread of its own while the job's thread checks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

CHECK_SECONDS = 0.1

T = TypeVar("T")


def run_interruptibly(work: Callable[[], T], check: Callable[[], None]) -> T:
    """The result of `work`. `check` is called every CHECK_SECONDS, on this thread; what it raises ends the wait. Then
    `work` goes on by itself, and its result is dropped: what must not be lost of it, it has to store."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as raised:  # noqa: BLE001 - raised again on the thread that waits
            future.set_exception(raised)

    # Not by an executor: the end of the process would wait for its threads.
    threading.Thread(target=run, name="provider-call", daemon=True).start()
    while not wait([future], CHECK_SECONDS).done:
        check()
    return future.result()
