"""Replicate's models: a cached list, and the input schema of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from app.core.catalog import Media, ModelSpec, Source
from app.core.model_schema import InputSchema
from app.core.provider_input import first_frame_of
from app.core.provider_media import media_of
from app.core.request import remote_spec
from app.errors import (
    ModelUnavailable,
    NoSuchModel,
    ProviderError,
)
from app.providers.calls import ProviderFault, Refused, log
from app.providers.replicate import MODEL, RemoteModel, Replicate
from app.services.context import AppContext

SOURCE: Source = "replicate"
FRESH_SECONDS = 3600.0
AGAIN_SECONDS = 60.0  # until the next request after a failed one
TIMEOUT_SECONDS = 15.0  # a client waits for the answer
AT_ONCE = 8
MOST_KNOWN = 500


@dataclass(frozen=True)
class Listed:
    """`model_id` is the id in jobs; `first_frame` the input for a picture to start from."""

    model: str
    model_id: str
    name: str
    media: Media
    description: str = ""
    cover_image_url: str | None = None
    run_count: int | None = None
    first_frame: str | None = None


@dataclass(frozen=True)
class Listing:
    """`refreshed_at`: when the provider last answered (seconds since the epoch); None: never."""

    models: Sequence[Listed]
    refreshed_at: float | None = None


@dataclass
class _Entry:
    value: Any
    at: float
    failed_at: float = field(default=float("-inf"))


class RemoteModels:
    """Cache of the provider's models, one per process; thread-safe. Kept for an hour, longer while unreachable."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        settings = context.settings
        token = settings.replicate_api_token.get_secret_value()
        self._api = Replicate(settings.replicate_base_url, token, timeout=TIMEOUT_SECONDS) if token else None
        self._known: dict[str, _Entry] = {}
        self._lists: dict[Media, _Entry] = {}
        self._refreshing = threading.Lock()

    @property
    def api(self) -> Replicate:
        """Raises ModelUnavailable without a token."""
        if self._api is None:
            raise ModelUnavailable("No provider of remote models is configured. Set REPLICATE_API_TOKEN.")
        return self._api

    # --- the list

    def listing(self, media: Media) -> Listing:
        """Models of the catalogue, then the curated ones that the provider has. Empty without a provider."""
        if self._api is None:
            return Listing(())
        entry = self._lists.get(media)
        if entry is None or _is_due(entry):
            entry = self._refreshed_once(media, entry)
        return Listing(entry.value, entry.at or None)

    def _refreshed_once(self, media: Media, old: _Entry | None) -> _Entry:
        """Refresh in one thread at a time; the others use the old list if there is one."""
        if not self._refreshing.acquire(blocking=old is None) and old is not None:
            return old
        try:
            entry = self._lists.get(media)
            if entry is None or _is_due(entry):
                entry = self._lists[media] = self._refreshed(media, entry)
            return entry
        finally:
            self._refreshing.release()

    def _refreshed(self, media: Media, before: _Entry | None) -> _Entry:
        names = self._curated(media)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self._try, names))
        away = any(isinstance(answer, ProviderFault) and not isinstance(answer, Refused) for answer in answers)
        if away and before is not None:
            return _Entry(before.value, before.at, time.monotonic())
        found = [answer for answer in answers if isinstance(answer, RemoteModel)]
        if not found:  # a compatible provider without these models: use its list
            found = [model for model in self._all() if _made_by(model) == media]
        value = [self._listed(model, media) for model in found]
        known = {entry.model for entry in value}
        value += [_from_catalogue(spec) for spec in self._catalogued(media) if away and spec.repo not in known]
        return _Entry(value, 0.0 if away else time.time(), time.monotonic())

    def _curated(self, media: Media) -> list[str]:
        settings = self._context.settings
        own = [spec.repo for spec in self._catalogued(media)]
        listed = (reference.partition(":")[0] for reference in settings.curated_models(media))
        return list(dict.fromkeys([*own, *listed]))

    def _catalogued(self, media: Media) -> list[ModelSpec]:
        return [spec for spec in self._context.catalog if spec.source == SOURCE and spec.media == media]

    def _all(self) -> Sequence[RemoteModel]:
        try:
            return self.api.models()
        except ProviderFault as fault:
            log.warning("Could not read the provider's list of models: %s", fault.text)
            return ()

    def _try(self, name: str) -> RemoteModel | ProviderFault:
        try:
            model = self.api.model(name)
        except ProviderFault as fault:
            return fault
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[name] = _Entry(model, time.time(), time.monotonic())
        return model

    def _listed(self, model: RemoteModel, media: Media) -> Listed:
        spec = remote_spec(self._context.catalog, SOURCE, model.model, media)
        return Listed(
            model=model.model,
            model_id=spec.id,
            name=spec.name,
            media=media,
            description=spec.description or model.description,
            cover_image_url=model.cover_image_url,
            run_count=model.run_count,
            first_frame=first_frame_of(InputSchema(model.document)) if model.document else None,
        )

    # --- one model

    def describe(self, name: str) -> RemoteModel:
        """Raises NoSuchModel, ProviderError or ModelUnavailable."""
        if not MODEL.fullmatch(name):
            raise NoSuchModel("A model name must be owner/name.")
        entry = self._known.get(name)
        if entry is not None and not _is_due(entry):
            return entry.value  # type: ignore[no-any-return]
        self._check_name(name)
        answer = self._try(name) if self.api else None
        if isinstance(answer, RemoteModel):
            return answer
        if isinstance(answer, Refused) and answer.status == 404:
            raise NoSuchModel(f"Replicate has no model {name!r}.")
        if entry is not None:
            entry.failed_at = time.monotonic()
            return entry.value  # type: ignore[no-any-return]
        raise ProviderError(answer.text if answer is not None else "The provider did not answer.")

    def describe_as(self, media: Media, name: str) -> RemoteModel:
        """As `describe`; also raises NoSuchModel if the model makes the other media: by the catalogue and the lists of
        the settings, or else by its name and inputs."""
        model = self.describe(name)
        made = self._listed_media(model.model) or {_made_by(model)}
        if media not in made:
            (other,) = made
            raise NoSuchModel(
                f"{model.model} makes {other}s, not {media}s: use /api/run-{other}-model. If that is wrong, list it in"
                f" REPLICATE_{media.upper()}_MODELS."
            )
        return model

    def _listed_media(self, name: str) -> set[Media]:
        medias: tuple[Media, ...] = ("image", "video")
        return {media for media in medias if name in self._curated(media)}

    def check_offered(self, name: str, version: str = "") -> None:
        """Raises NoSuchModel if REPLICATE_ONLY_LISTED is set and the reference, including its version, is not listed:
        the provider runs a version no matter which model it belongs to."""
        if not self._context.settings.replicate_only_listed:
            return
        reference = f"{name}:{version}" if version else name
        if reference not in self._offered():
            raise NoSuchModel(f"{reference!r} is not offered here (REPLICATE_ONLY_LISTED).")

    def check_version(self, model: RemoteModel, version: str) -> None:
        """Raises NoSuchModel if `version` is one of another model, whose price, inputs and media would be judged by
        this one's name, and ProviderError if the provider cannot be asked."""
        if version in ("", model.version) or f"{model.model}:{version}" in self._offered():
            return
        try:
            is_its_own = self.api.has_version(model.model, version)
        except ProviderFault as fault:
            raise ProviderError(fault.text) from None
        if not is_its_own:
            raise NoSuchModel(f"{model.model} has no version {version!r}.")

    def _check_name(self, name: str) -> None:
        """Raises NoSuchModel unless the model is offered in some version."""
        only_listed = self._context.settings.replicate_only_listed
        if only_listed and name not in {reference.partition(":")[0] for reference in self._offered()}:
            raise NoSuchModel(f"{name!r} is not offered here (REPLICATE_ONLY_LISTED).")

    def _offered(self) -> set[str]:
        """References in the settings' lists and the catalogue, including pinned versions."""
        specs = [spec for spec in self._context.catalog if spec.source == SOURCE]
        pinned = {f"{spec.repo}:{spec.options.revision}" for spec in specs if spec.options.revision}
        settings = self._context.settings
        listed = (*settings.curated_models("image"), *settings.curated_models("video"))
        return {*listed, *(spec.repo for spec in specs), *pinned}


def _from_catalogue(spec: ModelSpec) -> Listed:
    return Listed(spec.repo, spec.id, spec.name, spec.media, spec.description)


def _is_due(entry: _Entry) -> bool:
    return time.time() - entry.at > FRESH_SECONDS and time.monotonic() - entry.failed_at > AGAIN_SECONDS


def _made_by(model: RemoteModel) -> Media:
    return media_of(model.model, model.description, InputSchema(model.document))
