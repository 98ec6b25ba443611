"""Metrics buffered between two heartbeats: steps, images, seconds by phase, model loads and unloads."""

from __future__ import annotations

import threading
from collections import Counter as Totals
from collections.abc import Collection, Mapping

from app.monitoring.phases import bound_of
from app.store.ops.counters import Counter


class MetricsBuffer:
    """Thread-safe; filled by the worker's threads, flushed to the database by the heartbeat."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: Totals[Counter] = Totals()

    def completed(self, model_id: str, *, steps: int, images: int, timings: Mapping[str, float]) -> None:
        """Count a published job of `model_id`; `timings` are its seconds by phase."""
        found: Totals[Counter] = Totals({Counter("steps", model_id): steps, Counter("images", model_id): images})
        for phase, seconds in timings.items():
            found[Counter("phase_seconds", model_id, phase)] += seconds  # type: ignore[assignment]
            found[Counter("phase_bucket", model_id, f"{phase}/{bound_of(seconds)}")] += 1
        self.add(found)

    def merged(self, model_id: str) -> None:
        """Count a published job of `model_id` that was merged with others into one call."""
        self.add({Counter("jobs_merged", model_id): 1})

    def resident(self, before: Collection[str], after: Collection[str]) -> None:
        """Count the change of the models in memory from `before` to `after` by running a job."""
        loaded, unloaded = set(after) - set(before), set(before) - set(after)
        found = [Counter("model_loads", model) for model in loaded]
        found += [Counter("model_unloads", model) for model in unloaded]
        if loaded and unloaded:  # one was unloaded to make room for the other
            found += [Counter("model_swaps", model) for model in loaded]
        self.add(Totals(found))

    def add(self, found: Mapping[Counter, float]) -> None:
        with self._lock:
            self._totals.update(found)

    def take(self) -> Mapping[Counter, float]:
        """Empty the buffer and return its contents. Return them with `add` when they could not be written."""
        with self._lock:
            taken, self._totals = self._totals, Totals()
        return taken
