"""Creates a prediction exactly once, across retries and crashes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from app.core.prediction import Prediction
from app.engines.base import Ledger
from app.engines.replicate import SOURCE
from app.errors import LeaseLost
from app.monitoring.failpoints import failpoint
from app.providers.calls import Refused, Unreachable, log
from app.providers.replicate import RemoteModel, Replicate

CLOCK_SKEW_SECONDS = 300.0


class PredictionRequest:
    """Creates the prediction recorded as `intended`. `may_exist`: an earlier attempt may have created it. `public_url`
    is where the provider reaches this installation; empty = it does not."""

    def __init__(
        self,
        api: Replicate,
        ledger: Ledger,
        intended: Prediction,
        model: RemoteModel,
        *,
        version: str | None,
        public_url: str,
        may_exist: bool,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._intended = intended
        self._model = model
        self._version = version
        self._hook = f"{public_url}/api/webhooks/replicate?prediction={intended.id}" if public_url else None
        self._may_exist = may_exist

    def create_once(self) -> Prediction:
        """Return the prediction, creating it unless it exists already. Raises ProviderFault; may be called again."""
        found = self._find() if self._may_exist else None
        if found is not None:
            return found
        try:
            report = self._api.create(self._model, self._intended.input, version=self._version, webhook=self._hook)
        except Unreachable as away:
            self._may_exist |= away.maybe_done
            raise
        failpoint("after_create")
        self._may_exist = True  # if another job claimed it from the list meanwhile
        if not self._ledger.created(self._intended, report.provider_id):
            raise Unreachable("The prediction was claimed by another job with the same input.", maybe_done=True)
        failpoint("after_created_stored")
        return current_prediction(self._ledger, self._intended)

    def _find(self) -> Prediction | None:
        """The prediction created by an attempt that died before it stored the id; None if there is none."""
        known = current_prediction(self._ledger, self._intended)
        if known.provider_id is not None:  # a webhook delivered it
            return known
        try:
            matching = list(matching_predictions(self._api, self._intended))
        except Refused as refused:  # this provider has no list of predictions
            log.warning("Cannot look up predictions created before a crash: %s", refused.text)
            return None
        taken = self._ledger.taken(SOURCE, matching)
        for provider_id in matching:
            if provider_id not in taken and self._ledger.created(self._intended, provider_id):
                log.info("Found the prediction %s created before a crash", provider_id)
                return current_prediction(self._ledger, self._intended)
        return None


def current_prediction(ledger: Ledger, prediction: Prediction) -> Prediction:
    """`prediction` as the ledger has it now. Raises LeaseLost when the job was restarted."""
    known = ledger.find()
    if known is None:
        raise LeaseLost(prediction.job_id)
    return known


def matching_predictions(api: Replicate, intended: Prediction) -> Iterator[str]:
    """Ids of the predictions in the provider's list that may be `intended`; only one if its webhook's URL matches."""
    matching = []
    for listed in api.newest(time.time() - intended.age - CLOCK_SKEW_SECONDS):
        hook = str(listed.get("webhook") or "")
        if intended.id in hook:
            yield str(listed.get("id"))
            return
        if "?prediction=" not in hook and _has_same_input(listed, intended):
            matching.append(str(listed.get("id")))
    yield from matching


def _has_same_input(listed: Mapping[str, Any], intended: Prediction) -> bool:
    input = listed.get("input")
    same_model = listed.get("model") in (None, intended.model)
    return same_model and isinstance(input, dict) and bool(input) and {**input, **intended.input} == input
