"""Auxiliary models and upscalers as `cyberimage models` lists them: what is here, and what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.catalog import ModelSpec
from app.core.upscaling import is_resampling
from app.errors import UnknownModel
from app.files import hub_cache
from app.services.context import AppContext
from app.services.models import auxiliaries, upscalers


@dataclass(frozen=True)
class Companion:
    """`bytes`: on the disk, also of a part of the files. `beside`: the models of the catalogue that it certainly fits;
    empty for upscalers and detectors, which serve all."""

    spec: ModelSpec
    available: bool
    bytes: int
    family: str | None = None
    beside: Sequence[str] = ()


def listing(context: AppContext) -> list[Companion]:
    """ControlNets, adapters and detectors, then upscalers."""
    known = auxiliaries.listing(context)
    bases = [auxiliaries.base_of(context, spec) for spec in context.catalog]
    found = [
        Companion(
            each.spec,
            each.available,
            _bytes_of(context, each.spec),
            each.family,
            [base.spec.id for base in bases if auxiliaries.fitting(base, [each], frozenset({each.kind}))]
            if each.kind != "detector"
            else (),
        )
        for each in known
    ]
    return found + [
        Companion(state.spec, state.available, _bytes_of(context, state.spec)) for state in upscalers.listing(context)
    ]


def find(context: AppContext, name: str) -> ModelSpec:
    """The model, auxiliary model or upscaler called `name`. Raises UnknownModel."""
    catalog = context.catalog
    found = catalog.auxiliary(name)
    if found is not None:
        return found
    try:
        return catalog.get(name)
    except UnknownModel as unknown:
        try:
            return catalog.upscaler(name)
        except UnknownModel:
            others = ", ".join([*catalog.auxiliaries, *(spec.id for spec in catalog.upscalers)])
            raise UnknownModel(f"{unknown.detail} Beside models there are: {others}.") from None


def _bytes_of(context: AppContext, spec: ModelSpec) -> int:
    if is_resampling(spec):
        return 0
    settings, second = context.settings, spec.options.second
    if spec.source == "local":
        size = hub_cache.bytes_of(settings.local_path(spec.repo))
    else:
        size = hub_cache.bytes_kept(settings.hub_cache, spec.repo)
    if second is not None and hub_cache.is_repo_id(second):
        size += hub_cache.bytes_kept(settings.hub_cache, second)
    return size
