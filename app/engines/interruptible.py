"""Blocking calls that a job can leave: the call runs on a thread of its own while the job's thread checks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

CHECK_SECONDS = 0.1

T = TypeVar("T")


def run_interruptibly(work: Callable[[], T], check: Callable[[], None]) -> T:
    """The result of `work`. `check` is called every CHECK_SECONDS, on this thread; what it raises ends the wait. Then
    `work` goes on by itself, and its result is dropped: what must not be lost of it, it has to store."""
    call = _Call(work)
    threading.Thread(target=call.run, name="provider-call", daemon=True).start()
    while not call.done.wait(CHECK_SECONDS):
        check()
    return call.result()


class _Call(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.done = threading.Event()
        self._work = work
        self._found: list[T] = []
        self._raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as raised:  # noqa: BLE001 - raised again on the thread that waits
            self._raised = raised
        finally:
            self.done.set()

    def result(self) -> T:
        if self._raised is not None:
            raise self._raised
        return self._found[0]
