"""ReplicateEngine: runs Replicate's models."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.model_schema import InputSchema
from app.core.prediction import NO_FILE, Prediction, PredictionStatus, Report, shown_input
from app.core.provider_input import add_seed, provider_input
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, Generation, Inputs
from app.engines.remote import NoResidentModels, OutputDownloads, RemoteSettings, ledger_of, remote_model_of
from app.engines.replicate import SOURCE
from app.engines.replicate.create import PredictionRequest, matching_predictions
from app.engines.replicate.poll import PredictionPoll
from app.engines.replicate.retry import RetryDeadline
from app.engines.replicate.uploads import with_pictures, with_uploads
from app.errors import InvalidRequest, ProviderError
from app.monitoring.failpoints import failpoint
from app.providers.replicate import RemoteModel, Replicate

DESCRIBED_SECONDS = 300.0


class ReplicateEngine(NoResidentModels):
    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self._api = Replicate(settings.replicate_base_url, settings.replicate_token)
        self._known: dict[str, tuple[float, RemoteModel]] = {}

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Thread-safe. Raises ProviderError, GenerationTimeout, InvalidRequest or Cancelled."""
        started = time.perf_counter()
        control.report(Phase.STARTING)
        warnings: list[str] = []
        ended = self._predict(request, control, inputs, warnings)
        failpoint("after_ended")
        generated = time.perf_counter()
        if ended.status is PredictionStatus.SUCCEEDED and not ended.outputs:  # so that a retry creates a new one
            ledger_of(control).note_download(ended, retries=0, error=NO_FILE)
        outputs = OutputDownloads(self._settings, control, ended).all(_files_of(ended))
        failpoint("after_download")
        return Generation(
            images=outputs.images,
            videos=outputs.videos,
            effective=shown_input(ended.input),
            versions={"provider": SOURCE, "model": ended.model, "prediction": ended.provider_id or ""},
            timings={Phase.GENERATING.value: generated - started, "fetching": time.perf_counter() - generated},
            warnings=warnings,
        )

    def cancel_abandoned(self, prediction: Prediction, taken: Callable[[list[str]], Collection[str]]) -> Report | None:
        """Cancel the prediction of a job that has ended; None when the provider has no such prediction. `taken` returns
        those of some ids that belong to other jobs. Raises ProviderFault."""
        if prediction.provider_id is not None:
            return self._api.cancel(prediction.provider_id)
        matching = list(matching_predictions(self._api, prediction))
        others = taken(matching)
        return next((self._api.cancel(one) for one in matching if one not in others), None)

    def _predict(self, request: GenerationRequest, control: Control, inputs: Inputs, warnings: list[str]) -> Prediction:
        """Create this job's prediction, or continue an earlier attempt's, and wait until it has ended."""
        (name, version), ledger, public_url = remote_model_of(request), ledger_of(control), self._settings.public_url
        deadline = RetryDeadline(self._api, control, name, self._settings.timeout_seconds)
        known = ledger.find()
        may_exist = known is not None
        if known is None:
            input = self._input(deadline.call(lambda: self._described(name)), request, inputs, deadline, warnings)
            known = ledger.intend(source=SOURCE, model=name, input=input)
            failpoint("after_intent")
        else:
            deadline.subtract(known.age)
        if known.provider_id is None:
            known = PredictionRequest(
                *(self._api, ledger, deadline, known, lambda: self._described(name)),
                version=version,
                public_url=public_url,
                may_exist=may_exist,
            ).create_once()
        return PredictionPoll(self._api, control, deadline, has_webhook=bool(public_url)).wait_until_ended(known)

    def _input(
        self,
        model: RemoteModel,
        request: GenerationRequest,
        inputs: Inputs,
        deadline: RetryDeadline,
        warnings: list[str],
    ) -> dict[str, Any]:
        """The model's native input, with files uploaded. Raises InvalidRequest."""
        schema, call = InputSchema(model.document), request.remote
        assert call is not None, "checked by remote_model_of"
        if call.input is not None:  # validated when it was submitted
            input = add_seed(schema, request, call.input)
        else:
            words, new_warnings = provider_input(schema, request, call.chosen)
            warnings += new_warnings
            checked = schema.check(words | deadline.call(lambda: with_pictures(inputs, schema, self._api)))
            if checked.errors:
                problems = "; ".join(f"{error.field}: {error.message}" for error in checked.errors)
                raise InvalidRequest(f"{model.model} does not accept this input: {problems}.", errors=checked.errors)
            input = checked.input
        return deadline.call(lambda: with_uploads(input, self._api, self._settings.open_picture, call.pictures or ()))

    def _described(self, name: str) -> RemoteModel:
        """The provider's description of the model, cached for DESCRIBED_SECONDS. Raises ProviderFault."""
        at, model = self._known.get(name, (float("-inf"), None))
        if model is None or time.monotonic() - at > DESCRIBED_SECONDS:
            model = self._api.model(name)
            self._known[name] = (time.monotonic(), model)
        return model


def _files_of(ended: Prediction) -> tuple[str, ...]:
    """The prediction's output URLs. Raises ProviderError with the provider's message when it has none."""
    if ended.status is PredictionStatus.SUCCEEDED and ended.outputs:
        return ended.outputs
    message = ended.error or {
        PredictionStatus.SUCCEEDED: NO_FILE,
        PredictionStatus.CANCELED: "The prediction was canceled at Replicate.",
        PredictionStatus.ABORTED: "Replicate aborted the prediction before it ran. Retry later.",
    }.get(ended.status, "The model failed and gave no reason.")
    raise ProviderError(message)
