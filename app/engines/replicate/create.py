"""Creates a prediction exactly once, across retries and crashes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from app.core.prediction import Prediction
from app.engines.base import Ledger
from app.engines.replicate import SOURCE
from app.engines.replicate.retry import Delivered, LedgerWatch, RetryDeadline, current_prediction
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
        deadline: RetryDeadline,
        intended: Prediction,
        describe: Callable[[], RemoteModel],
        *,
        version: str | None,
        public_url: str,
        may_exist: bool,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._deadline = deadline
        self._intended = intended
        self._describe = describe
        self._version = version
        self._hook = f"{public_url}/api/webhooks/replicate?prediction={intended.id}" if public_url else None
        self._may_exist = may_exist

    def create_once(self) -> Prediction:
        """Return the prediction, creating it unless it exists already. Raises ProviderError, Cancelled or
        GenerationTimeout."""
        return self._deadline.retry(self._found_or_created, patient=lambda: self._may_exist)

    def _found_or_created(self) -> Prediction:
        try:
            found = self._find() if self._may_exist else None
            return found if found is not None else self._create()
        except Delivered:
            return current_prediction(self._ledger, self._intended)

    def _create(self) -> Prediction:
        if self._deadline.overdue:
            self._deadline.expire()
        model = self._deadline.run(self._describe, watch=self._watch())
        try:
            if not self._deadline.run(lambda: self._created(model), watch=self._watch(), through_drain=True):
                raise Unreachable("The prediction was claimed by another job with the same input.", maybe_done=True)
        except Unreachable as away:
            self._may_exist |= away.maybe_done
            raise
        failpoint("after_created_stored")
        return current_prediction(self._ledger, self._intended)

    def _created(self, model: RemoteModel) -> bool:
        """Create it and store its id, even if the job has meanwhile left this call."""
        report = self._api.create(model, self._intended.input, version=self._version, webhook=self._hook)
        failpoint("after_create")
        return self._ledger.created(self._intended, report.provider_id)

    def _find(self) -> Prediction | None:
        """The prediction created by an attempt that died before it stored the id; None if there is none."""
        known = current_prediction(self._ledger, self._intended)
        if known.provider_id is not None:  # a webhook delivered it
            return known
        try:
            search = lambda: list(matching_predictions(self._api, self._intended))  # noqa: E731
            matching = self._deadline.run(search, watch=self._watch())
        except Refused as refused:  # for now, or the provider has no list: a webhook may still say it
            raise Unreachable(f"Whether the prediction exists is not known: {refused.text}", maybe_done=True) from None
        taken = self._ledger.taken(SOURCE, matching)
        for provider_id in matching:
            if provider_id not in taken and self._ledger.created(self._intended, provider_id):
                log.info("Found the prediction %s created before a crash", provider_id)
                return current_prediction(self._ledger, self._intended)
        return None

    def _watch(self) -> LedgerWatch:
        return LedgerWatch(self._ledger, self._intended, lambda known: known.provider_id is not None)


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
