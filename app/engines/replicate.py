"""Models at Replicate: ask once, follow until it ends, bring the files here.

What was asked is on the disk before it is asked, and the provider's id for it before anything waits for it. So whoever
has the job after a crash goes on with the same prediction. In the gap between the two, the provider's own list tells
whether it was asked for: by our id in the webhook's address, or by the input, the drawn seed included.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.model_schema import InputSchema
from app.core.prediction import Prediction, PredictionStatus, Report, shown
from app.core.request import GenerationRequest
from app.core.wording import add_seed, word_input
from app.engines.base import NO_INPUTS, Control, Generation, Inputs
from app.engines.remote import Fetching, NothingResident, RemoteSettings, call_of, ledger_of
from app.engines.replicate_input import with_pictures, with_uploads
from app.errors import Cancelled, DatabaseUnavailable, GenerationTimeout, InvalidRequest, ProviderError
from app.monitoring.failpoints import failpoint
from app.providers.calls import Away, Busy, ProviderFault, Refused, log
from app.providers.replicate import RemoteModel, Replicate

SOURCE = "replicate"
T = TypeVar("T")
ASK_SECONDS = 120.0  # how long a provider that cannot be reached is tried
ASK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
POLL_PAUSES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
POLL_PAUSES_WITH_WEBHOOK = (5.0, 10.0, 20.0, 30.0)
LOOK_SECONDS = 1.0  # how often the ledger is read for what a webhook told
REFUSALS = 3  # of a poll in a row, then the provider means it
CLOCK_SKEW_SECONDS = 300.0
NO_FILE = "The model succeeded and made no file."
_STEPS = re.compile(r"\d+%\|[^\r\n]*\| *(\d+)/(\d+) ")


class ReplicateEngine(NothingResident):
    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self._api = Replicate(settings.replicate_base_url, settings.replicate_token)

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Safe with threads. Raises ProviderError, GenerationTimeout, InvalidRequest or Cancelled."""
        started = time.perf_counter()
        control.report(Phase.STARTING)
        run = _Run(self._api, self._settings, request, control, inputs)
        ended = run.follow()
        generated = time.perf_counter()
        seed = ended.input.get("seed")
        seed = seed if isinstance(seed, int) else request.seed
        if ended.status is PredictionStatus.SUCCEEDED and not ended.outputs:  # so that a retry asks anew
            ledger_of(control).note_download(ended, retries=0, error=NO_FILE)
        outputs = Fetching(self._settings.fetch, control, ended, seed).all(_files_of(ended))
        failpoint("after_download")
        return Generation(
            images=outputs.images,
            videos=outputs.videos,
            effective={name: shown(value) for name, value in ended.input.items()},
            versions={"provider": SOURCE, "model": ended.model, "prediction": ended.provider_id or ""},
            timings={Phase.GENERATING.value: generated - started, "fetching": time.perf_counter() - generated},
            warnings=run.warnings,
        )

    def withdraw(self, prediction: Prediction, taken: Callable[[list[str]], Collection[str]]) -> Report | None:
        """Tell the provider that nobody wants it any more; None when there is no such prediction there. `taken` are
        those of some ids that other jobs go by. Raises ProviderFault."""
        if prediction.provider_id is not None:
            return self._api.cancel(prediction.provider_id)
        alike = list(alike_ones(self._api, prediction))
        others = taken(alike)
        return next((self._api.cancel(one) for one in alike if one not in others), None)


class _Run:
    """One job's prediction."""

    def __init__(
        self, api: Replicate, settings: RemoteSettings, request: GenerationRequest, control: Control, inputs: Inputs
    ) -> None:
        self._api = api
        self._settings = settings
        self._request = request
        self._control = control
        self._inputs = inputs
        self._ledger = ledger_of(control)
        self._model, self._version = call_of(request)
        self._deadline = time.monotonic() + settings.timeout_seconds
        self.warnings: list[str] = []

    def follow(self) -> Prediction:
        """The prediction, once it has ended."""
        known = self._ledger.find()
        if known is None:
            model = self._described()
            known = self._ledger.intend(source=SOURCE, model=self._model, input=self._input(model))
            failpoint("after_intent")
            known = self._ask(known, model)
        else:
            self._deadline -= known.age
            known = known if known.provider_id else self._ask(known, None)
        ended = self._wait_for(known)
        failpoint("after_ended")
        return ended

    # --- ask once

    def _input(self, model: RemoteModel) -> dict[str, Any]:
        schema, call = InputSchema(model.document), self._request.remote
        assert call is not None
        if call.input is None:
            words, self.warnings = word_input(schema, self._request, call.chosen)
            words |= self._patiently(lambda: with_pictures(self._inputs, schema, self._api))
            checked = schema.check(words)
            if checked.errors:
                said = "; ".join(f"{error.field}: {error.message}" for error in checked.errors)
                raise InvalidRequest(f"{self._model} does not take this: {said}.", errors=checked.errors)
            input = checked.input
        else:
            input = add_seed(schema, self._request, call.input)
        return self._patiently(lambda: with_uploads(input, schema, self._api, self._settings.open_picture))

    def _described(self) -> RemoteModel:
        return self._patiently(lambda: self._api.model(self._model))

    def _ask(self, intended: Prediction, model: RemoteModel | None) -> Prediction:
        """Create the prediction, unless it turns out that it was created already."""
        unsure = model is None  # an earlier attempt may have asked
        model = model or self._described()

        def once() -> Prediction:
            nonlocal unsure
            if unsure:
                found = self._find(intended)
                if found is not None:
                    return found
            try:
                report = self._api.create(model, intended.input, version=self._version, webhook=self._hook(intended))
            except Away as away:
                unsure = unsure or away.maybe_done
                raise
            failpoint("after_create")
            unsure = True  # should another job have taken it from the list meanwhile
            if not self._ledger.created(intended, report.provider_id):
                raise Away("The prediction was taken by a twin.", maybe_done=True)
            failpoint("after_created_stored")
            return self._known()

        return self._patiently(once)

    def _find(self, intended: Prediction) -> Prediction | None:
        """The prediction that was asked for by who died before it could write down its id."""
        known = self._known()
        if known.provider_id is not None:  # a webhook brought it
            return known
        try:
            alike = list(alike_ones(self._api, intended))
        except Refused as refused:  # it keeps no list: then there is no telling
            log.warning("What was asked for before a crash cannot be looked for: %s", refused.text)
            return None
        taken = self._ledger.taken(SOURCE, alike)
        for provider_id in alike:
            if provider_id not in taken and self._ledger.created(intended, provider_id):
                log.info("Found the prediction %s that was asked for before a crash", provider_id)
                return self._known()
        return None

    def _known(self) -> Prediction:
        known = self._ledger.find()
        if known is None:  # somebody asked for the job to be done anew, and we did not see it end
            raise Cancelled
        return known

    def _hook(self, intended: Prediction) -> str | None:
        public = self._settings.public_url
        return f"{public}/api/webhooks/replicate?prediction={intended.id}" if public else None

    def _patiently(self, ask: Callable[[], T]) -> T:
        """The answer, asked for again while the provider is busy or away."""
        give_up_at = min(self._deadline, time.monotonic() + ASK_SECONDS)
        for pause in _pauses(ASK_PAUSES):
            try:
                return ask()
            except Refused as refused:
                raise ProviderError(refused.text) from None
            except Busy as busy:
                fault: ProviderFault = busy
                pause = max(pause, busy.retry_after or 0.0)
                give_up_at = max(give_up_at, min(self._deadline, time.monotonic() + pause + 1.0))
            except Away as away:
                fault = away
            log.warning("%s Trying again in %.0f s.", fault.text, pause)
            if time.monotonic() + pause > give_up_at:
                raise ProviderError(f"{fault.text} Retry when it answers again.")
            self._pause(pause, None)
        raise AssertionError("the pauses never end")

    # --- follow it

    def _wait_for(self, known: Prediction) -> Prediction:
        provider_id = known.provider_id
        assert provider_id is not None
        refusals, pauses = 0, _pauses(POLL_PAUSES_WITH_WEBHOOK if self._settings.public_url else POLL_PAUSES)
        poll_at = time.monotonic() + (0.0 if known.age > LOOK_SECONDS else next(pauses))
        while not known.status.terminal:
            now = time.monotonic()
            if now < poll_at:
                self._pause(min(poll_at - now, LOOK_SECONDS), provider_id)
            else:
                refusals, poll_at = self._poll(provider_id, refusals), time.monotonic() + next(pauses)
            known = self._look(known)
        return known

    def _poll(self, provider_id: str, refusals: int) -> int:
        """Ask how it stands and write it down; gives how often in a row the provider refused to say."""
        try:
            report = self._api.prediction(provider_id)
            self._show(report)
            self._ledger.observed(SOURCE, report)
        except Refused as refused:
            if refusals + 1 >= REFUSALS:
                raise ProviderError(refused.text) from None
            return refusals + 1
        except (Busy, Away, DatabaseUnavailable) as fault:
            log.warning("Cannot follow a prediction just now: %s", fault)
        return 0

    def _look(self, known: Prediction) -> Prediction:
        try:
            return self._known()
        except DatabaseUnavailable:  # it is there again soon, or the lease ends
            return known

    def _show(self, report: Report) -> None:
        steps = _STEPS.findall(report.logs[-5000:])
        if report.status is PredictionStatus.PROCESSING:
            step, total = (int(number) for number in steps[-1]) if steps else (0, 0)
            self._control.report(Phase.GENERATING, step, total)

    def _pause(self, seconds: float, provider_id: str | None) -> None:
        """Wait. Raises Cancelled or GenerationTimeout, after telling the provider that nobody wants it any more."""
        self._ledger.wait(seconds)
        late = time.monotonic() >= self._deadline
        if not late and not self._control.cancelled():
            return
        if provider_id is not None and (late or not self._ledger.wanted()):
            self._withdraw(provider_id)
        if late:
            seconds = self._settings.timeout_seconds
            raise GenerationTimeout(f"{self._model} took longer than {seconds:g} seconds (REMOTE_TIMEOUT_SECONDS).")
        raise Cancelled

    def _withdraw(self, provider_id: str) -> None:
        try:
            self._ledger.observed(SOURCE, self._api.cancel(provider_id))
        except (ProviderFault, DatabaseUnavailable) as fault:  # whoever looks for strays tries again
            log.warning("A prediction could not be cancelled yet: %s", fault)


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


def _pauses(steps: tuple[float, ...]) -> Iterator[float]:
    yield from steps
    while True:
        yield steps[-1]
