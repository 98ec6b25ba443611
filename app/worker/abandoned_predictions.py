"""Cancels provider predictions whose job has already ended; they would keep accruing cost.

Most are cancelled by the worker that runs them. These are the others: the job was cancelled while it waited for another
worker, or timed out after its worker had died.
"""

from __future__ import annotations

import threading

from app.engines.replicate import SOURCE
from app.engines.replicate.engine import ReplicateEngine
from app.errors import DatabaseUnavailable
from app.providers.calls import ProviderFault, Refused, log
from app.services.context import AppContext

SWEEP_SECONDS = 10.0
GIVE_UP_SECONDS = 3600.0  # on predictions that the provider does not know
LATE_SECONDS = 180.0  # in which one may still turn up whose creation was never answered: a hanging call may succeed


class AbandonedPredictions(threading.Thread):
    """Background thread: sweeps for abandoned predictions every SWEEP_SECONDS."""

    def __init__(self, context: AppContext, engine: ReplicateEngine) -> None:
        super().__init__(name="abandoned-predictions", daemon=True)
        self._predictions = context.predictions
        self._engine = engine
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            try:
                self.sweep()
            except (DatabaseUnavailable, ProviderFault) as fault:
                log.warning("Could not cancel abandoned predictions, trying again in %g s: %s", SWEEP_SECONDS, fault)

    def stop(self) -> None:
        self._stopping.set()

    def sweep(self) -> None:
        """Cancel all abandoned predictions. Raises DatabaseUnavailable or ProviderFault."""
        for prediction in self._predictions.abandoned(SOURCE):
            try:
                report = self._engine.cancel_abandoned(prediction, lambda ids: self._predictions.taken(SOURCE, ids))
            except Refused as refused:
                log.warning("A prediction could not be cancelled: %s", refused.text)
                if prediction.age < GIVE_UP_SECONDS:  # it may be there, and even have a result for a retry
                    continue
                report = None
            if report is None and prediction.provider_id is None and prediction.age < LATE_SECONDS:
                continue
            if report is None:
                self._predictions.lost(prediction)
            else:
                self._predictions.observed(SOURCE, report, intent=prediction.id)
                log.info("Cancelled the abandoned prediction %s", report.provider_id)
