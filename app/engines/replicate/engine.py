"""The engine of Replicate's models."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.model_schema import InputSchema
from app.core.prediction import Prediction, PredictionStatus, Report, shown
from app.core.provider_input import add_seed, provider_input
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, Generation, Inputs
from app.engines.remote import NothingResident, OutputDownloads, RemoteSettings, call_of, ledger_of
from app.engines.replicate import SOURCE
from app.engines.replicate.create import PredictionRequest, alike_ones
from app.engines.replicate.poll import PredictionPoll
from app.engines.replicate.retry import RetryDeadline
from app.engines.replicate.uploads import with_pictures, with_uploads
from app.errors import InvalidRequest, ProviderError
from app.monitoring.failpoints import failpoint
from app.providers.replicate import RemoteModel, Replicate

DESCRIBED_SECONDS = 300.0
LARGEST_SEED = 2**53  # that every reader of JSON can tell from its neighbours
NO_FILE = "The model succeeded and made no file."


class ReplicateEngine(NothingResident):
    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self._api = Replicate(settings.replicate_base_url, settings.replicate_token)
        self._known: dict[str, tuple[float, RemoteModel]] = {}

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Safe with threads. Raises ProviderError, GenerationTimeout, InvalidRequest or Cancelled."""
        started = time.perf_counter()
        control.report(Phase.STARTING)
        warnings: list[str] = []
        ended = self._predict(request, control, inputs, warnings)
        failpoint("after_ended")
        generated = time.perf_counter()
        if ended.status is PredictionStatus.SUCCEEDED and not ended.outputs:  # so that a retry asks anew
            ledger_of(control).note_download(ended, retries=0, error=NO_FILE)
        outputs = OutputDownloads(self._settings.fetch, control, ended, _seed_of(ended, request)).all(_files_of(ended))
        failpoint("after_download")
        return Generation(
            images=outputs.images,
            videos=outputs.videos,
            effective={name: shown(value) for name, value in ended.input.items()},
            versions={"provider": SOURCE, "model": ended.model, "prediction": ended.provider_id or ""},
            timings={Phase.GENERATING.value: generated - started, "fetching": time.perf_counter() - generated},
            warnings=warnings,
        )

    def withdraw(self, prediction: Prediction, taken: Callable[[list[str]], Collection[str]]) -> Report | None:
        """Tell the provider that nobody wants it any more; None when there is no such prediction there. `taken` are
        those of some ids that other jobs go by. Raises ProviderFault."""
        if prediction.provider_id is not None:
            return self._api.cancel(prediction.provider_id)
        alike = list(alike_ones(self._api, prediction))
        others = taken(alike)
        return next((self._api.cancel(one) for one in alike if one not in others), None)

    def _predict(self, request: GenerationRequest, control: Control, inputs: Inputs, warnings: list[str]) -> Prediction:
        """The prediction of this job, once it has ended; begun by us or by an earlier attempt."""
        (name, version), ledger, public_url = call_of(request), ledger_of(control), self._settings.public_url
        patience = RetryDeadline(self._api, control, name, self._settings.timeout_seconds)
        known = ledger.find()
        unsure = known is not None
        if known is None:
            input = self._input(patience.ask(lambda: self._described(name)), request, inputs, patience, warnings)
            known = ledger.intend(source=SOURCE, model=name, input=input)
            failpoint("after_intent")
        else:
            patience.used_up(known.age)
        if known.provider_id is None:
            model = patience.ask(lambda: self._described(name))
            asking = PredictionRequest(
                self._api, ledger, known, model, version=version, public_url=public_url, unsure=unsure
            )
            known = patience.ask(asking.once)
        return PredictionPoll(self._api, control, patience, hooked=bool(public_url)).to_the_end(known)

    def _input(
        self,
        model: RemoteModel,
        request: GenerationRequest,
        inputs: Inputs,
        patience: RetryDeadline,
        warnings: list[str],
    ) -> dict[str, Any]:
        """What to send, in the model's own words, its files uploaded. Raises InvalidRequest."""
        schema, call = InputSchema(model.document), request.remote
        assert call is not None, "call_of has seen to that"
        if call.input is not None:  # judged when it came
            input = add_seed(schema, request, call.input)
        else:
            words, told = provider_input(schema, request, call.chosen)
            warnings += told
            checked = schema.check(words | patience.ask(lambda: with_pictures(inputs, schema, self._api)))
            if checked.errors:
                said = "; ".join(f"{error.field}: {error.message}" for error in checked.errors)
                raise InvalidRequest(f"{model.model} does not take this: {said}.", errors=checked.errors)
            input = checked.input
        return patience.ask(lambda: with_uploads(input, self._api, self._settings.open_picture, call.pictures or ()))

    def _described(self, name: str) -> RemoteModel:
        """What the provider says of the model, at most a few minutes old. Raises ProviderFault."""
        at, model = self._known.get(name, (float("-inf"), None))
        if model is None or time.monotonic() - at > DESCRIBED_SECONDS:
            model = self._api.model(name)
            self._known[name] = (time.monotonic(), model)
        return model


def _seed_of(ended: Prediction, request: GenerationRequest) -> int:
    """The one that was sent, if it was one that can be kept."""
    seed = ended.input.get("seed")
    return seed if isinstance(seed, int) and 0 <= seed <= LARGEST_SEED else request.seed


def _files_of(ended: Prediction) -> tuple[str, ...]:
    """Its outputs. Raises ProviderError, in the provider's words, when it has none."""
    if ended.status is PredictionStatus.SUCCEEDED and ended.outputs:
        return ended.outputs
    told = ended.error or {
        PredictionStatus.SUCCEEDED: NO_FILE,
        PredictionStatus.CANCELED: "The prediction was canceled at Replicate.",
        PredictionStatus.ABORTED: "Replicate aborted the prediction before it ran. Retry later.",
    }.get(ended.status, "The model failed and gave no reason.")
    raise ProviderError(told)
