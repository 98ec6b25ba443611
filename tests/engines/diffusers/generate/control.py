"""A `Control` that records reports and cancels at a given step."""

from __future__ import annotations

from app.core.job import Phase
from app.engines.base import Pixels


class Recorder:
    """`reports` are (phase, step, total) in order. `cancel_at` asks to stop once that many steps are done."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.reports: list[tuple[Phase, int, int]] = []
        self.downloads: list[tuple[int, int]] = []
        self.previews: list[tuple[int, Pixels]] = []
        self._cancel_at = cancel_at

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        self.reports.append((phase, step, total_steps))

    def downloaded(self, done: int, total: int) -> None:
        self.downloads.append((done, total))

    def preview(self, pixels: Pixels, step: int) -> None:
        self.previews.append((step, pixels))

    def cancelled(self) -> bool:
        return self._cancel_at is not None and self.last_step() >= self._cancel_at

    def last_step(self) -> int:
        return max((step for _, step, _ in self.reports), default=0)

    def phases(self) -> list[Phase]:
        """The phases in order, each named once per stretch."""
        found: list[Phase] = []
        for phase, _, _ in self.reports:
            if not found or found[-1] is not phase:
                found.append(phase)
        return found
