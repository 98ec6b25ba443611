"""Ask for a prediction once, whatever happens in between."""

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
    """One prediction that is `intended`. `unsure`: somebody may have asked for it before us. `public_url`: where the
    provider reaches us; empty = it does not."""

    def __init__(
        self,
        api: Replicate,
        ledger: Ledger,
        intended: Prediction,
        model: RemoteModel,
        *,
        version: str | None,
        public_url: str,
        unsure: bool,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._intended = intended
        self._model = model
        self._version = version
        self._hook = f"{public_url}/api/webhooks/replicate?prediction={intended.id}" if public_url else None
        self._unsure = unsure

    def once(self) -> Prediction:
        """The prediction, created unless it turns out that it was created already. Raises ProviderFault: then call it
        again."""
        found = self._find() if self._unsure else None
        if found is not None:
            return found
        try:
            report = self._api.create(self._model, self._intended.input, version=self._version, webhook=self._hook)
        except Unreachable as away:
            self._unsure |= away.maybe_done
            raise
        failpoint("after_create")
        self._unsure = True  # should another job have taken it from the list meanwhile
        if not self._ledger.created(self._intended, report.provider_id):
            raise Unreachable("The prediction was taken by a twin.", maybe_done=True)
        failpoint("after_created_stored")
        return known_to(self._ledger, self._intended)

    def _find(self) -> Prediction | None:
        """The prediction that was asked for by who died before it could write down its id."""
        known = known_to(self._ledger, self._intended)
        if known.provider_id is not None:  # a webhook brought it
            return known
        try:
            alike = list(alike_ones(self._api, self._intended))
        except Refused as refused:  # it keeps no list: then there is no telling
            log.warning("What was asked for before a crash cannot be looked for: %s", refused.text)
            return None
        taken = self._ledger.taken(SOURCE, alike)
        for provider_id in alike:
            if provider_id not in taken and self._ledger.created(self._intended, provider_id):
                log.info("Found the prediction %s that was asked for before a crash", provider_id)
                return known_to(self._ledger, self._intended)
        return None


def known_to(ledger: Ledger, prediction: Prediction) -> Prediction:
    """It, as it stands now. Raises LeaseLost when somebody had the job begun anew."""
    known = ledger.find()
    if known is None:
        raise LeaseLost(prediction.job_id)
    return known


def alike_ones(api: Replicate, intended: Prediction) -> Iterator[str]:
    """Ids of the predictions in the provider's list that may be the `intended` one; alone the one that surely is."""
    alike = []
    for listed in api.newest(time.time() - intended.age - CLOCK_SKEW_SECONDS):
        hook = str(listed.get("webhook") or "")
        if intended.id in hook:
            yield str(listed.get("id"))
            return
        if "?prediction=" not in hook and _is_like(listed, intended):
            alike.append(str(listed.get("id")))
    yield from alike


def _is_like(listed: Mapping[str, Any], intended: Prediction) -> bool:
    input = listed.get("input")
    same_model = listed.get("model") in (None, intended.model)
    return same_model and isinstance(input, dict) and bool(input) and {**input, **intended.input} == input
