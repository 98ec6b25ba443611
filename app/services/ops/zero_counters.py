"""The counters that begin at zero: a series that is born with its first fault shows Prometheus no increase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from app.core.catalog import Lane, ModelSpec
from app.core.deaths import CAUSES
from app.core.prediction import PredictionStatus
from app.errors import GenerationError, UnsupportedTask, codes_of
from app.store.ops.counters import Counter

OUTCOMES = ("completed", "cancelled", *codes_of(GenerationError), UnsupportedTask.code)
RETURNED = ("released", *codes_of(GenerationError))
ENCODINGS = ("computed", "reused")
REMOVED = ("image", "job", "orphan")  # by retention and clean-up
MOST_OTHERS, OTHER = 100, "other"
_OF_MODELS = ("jobs_accepted", "jobs_merged", "steps", "images")
_OF_LOCAL_MODELS = ("model_loads", "model_unloads", "model_swaps")
_FINAL = tuple(state.value for state in PredictionStatus if state.terminal)


def with_bounded_models(counters: Mapping[Counter, float], catalog: Iterable[ModelSpec]) -> Mapping[Counter, float]:
    """`counters` with a label `model` that does not grow without end: a provider has thousands of models, and each that
    is asked for has series of its own. Of those outside the catalogue the first MOST_OTHERS by name keep theirs, the
    rest is one, OTHER; a name that once belongs to the rest stays there, so that no counter of it decreases."""
    known = {spec.id for spec in catalog}
    others = sorted({key.model_id for key in counters if key.model_id} - known)
    rest = frozenset(others[MOST_OTHERS:])
    bounded: dict[Counter, float] = {}
    for key, value in counters.items():
        shown = key._replace(model_id=OTHER) if key.model_id in rest else key
        bounded[shown] = bounded.get(shown, 0.0) + value
    return bounded


def with_zeros(counters: Mapping[Counter, float], catalog: Iterable[ModelSpec]) -> Mapping[Counter, float]:
    """`counters`, and a zero for each that is not there yet, of every model of the catalogue and every other that was
    ever asked for."""
    lanes: dict[str, Lane] = {key.model_id: "local" for key in counters if key.model_id}
    providers = {spec.id: spec.source for spec in catalog if spec.lane == "remote"}
    lanes |= {spec.id: spec.lane for spec in catalog}
    zeros = dict.fromkeys(_zeros(lanes, providers), 0.0)
    return {**zeros, **counters}


def _zeros(lanes: Mapping[str, Lane], providers: Mapping[str, str]) -> Iterator[Counter]:
    for model, lane in lanes.items():
        yield from (Counter(name, model) for name in _OF_MODELS)
        yield from (Counter("jobs_ended", model, outcome) for outcome in OUTCOMES)
        yield from (Counter("jobs_returned", model, reason) for reason in RETURNED)
        if lane == "local":
            yield from (Counter(name, model) for name in _OF_LOCAL_MODELS)
            yield from (Counter("prompt_encodings", model, answer) for answer in ENCODINGS)
    for model, provider in providers.items():
        yield from (Counter("remote_predictions", model, f"{provider}/{state}") for state in _FINAL)
        yield from (Counter(name, model, provider) for name in ("remote_predict_seconds", "remote_download_retries"))
    yield from (Counter("worker_deaths", "", cause) for cause in CAUSES)
    yield from (Counter("removed", "", kind) for kind in REMOVED)
    yield Counter("freed_bytes")
