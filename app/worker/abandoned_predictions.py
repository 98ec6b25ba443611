"""Predictions that nobody waits for any more are cancelled at their provider, where each second of them costs.

Most are cancelled by the worker that runs them. These are the others: the job was cancelled while it waited for another
worker, or ran out of time when its worker was dead.
"""

from __future__ import annotations

import threading

from app.engines.replicate import SOURCE
from app.engines.replicate.engine import ReplicateEngine
from app.errors import DatabaseUnavailable
from app.providers.calls import ProviderFault, Refused, log
from app.services.context import AppContext

LOOK_EVERY_SECONDS = 10.0


class AbandonedPredictions(threading.Thread):
    def __init__(self, context: AppContext, engine: ReplicateEngine) -> None:
        super().__init__(name="strays", daemon=True)
        self._predictions = context.predictions
        self._engine = engine
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_SECONDS):
            try:
                self.sweep()
            except (DatabaseUnavailable, ProviderFault) as fault:
                log.warning("Predictions that nobody wants could not be cancelled yet: %s", fault)

    def stop(self) -> None:
        self._stopping.set()

    def sweep(self) -> None:
        """Raises DatabaseUnavailable or ProviderFault."""
        for stray in self._predictions.abandoned(SOURCE):
            try:
                report = self._engine.withdraw(stray, lambda ids: self._predictions.taken(SOURCE, ids))
            except Refused as refused:  # the provider knows no such thing
                log.warning("A prediction could not be cancelled: %s", refused.text)
                report = None
            if report is None:
                self._predictions.supersede(stray)
            else:
                self._predictions.observed(SOURCE, report, intent=stray.id)
                log.info("Cancelled the prediction %s, which nobody wants any more", report.provider_id)
