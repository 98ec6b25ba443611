"""A `Control` that ignores all reports and never cancels."""

from __future__ import annotations


class NullControl:
    def report(self, phase, step=0, total_steps=0) -> None:
        """Ignored."""

    def downloaded(self, done, total) -> None:
        """Ignored."""

    def preview(self, pixels, step) -> None:
        """Ignored."""

    def cancelled(self) -> bool:
        return False
