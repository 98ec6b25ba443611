"""What a worker counts for monitoring between two heartbeats: steps, pictures, seconds by phase, models in and out."""

from __future__ import annotations

import threading
from collections import Counter as Totals
from collections.abc import Collection, Mapping

from app.monitoring.phases import bound_of
from app.store.ops.counters import Counter


class MetricsBuffer:
    """Filled by the worker's threads, emptied by the keeper into the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: Totals[Counter] = Totals()

    def completed(self, model_id: str, *, steps: int, images: int, timings: Mapping[str, float]) -> None:
        """A job of `model_id` was published; `timings` are its seconds by phase."""
        found: Totals[Counter] = Totals({Counter("steps", model_id): steps, Counter("images", model_id): images})
        for phase, seconds in timings.items():
            found[Counter("phase_seconds", model_id, phase)] += seconds  # type: ignore[assignment]
            found[Counter("phase_bucket", model_id, f"{phase}/{bound_of(seconds)}")] += 1
        self.add(found)

    def merged(self, model_id: str) -> None:
        """A job of `model_id` that was drawn in one call with others was published."""
        self.add({Counter("jobs_merged", model_id): 1})

    def resident(self, before: Collection[str], after: Collection[str]) -> None:
        """The models in memory changed from `before` to `after` by running a job."""
        came, went = set(after) - set(before), set(before) - set(after)
        found = [Counter("model_loads", model) for model in came] + [Counter("model_unloads", model) for model in went]
        if came and went:  # one had to go for the other
            found += [Counter("model_swaps", model) for model in came]
        self.add(Totals(found))

    def add(self, found: Mapping[Counter, float]) -> None:
        with self._lock:
            self._totals.update(found)

    def take(self) -> Mapping[Counter, float]:
        """Everything counted since the last time. Give it back by `add` when it could not be written."""
        with self._lock:
            taken, self._totals = self._totals, Totals()
        return taken
