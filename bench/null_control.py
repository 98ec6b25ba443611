"""A `Control` that neither listens nor speaks."""

from __future__ import annotations


class Silent:
    def report(self, phase, step=0, total_steps=0) -> None:
        """Nobody watches."""

    def downloaded(self, done, total) -> None:
        """Nobody watches."""

    def preview(self, pixels, step) -> None:
        """Nobody looks."""

    def cancelled(self) -> bool:
        return False
