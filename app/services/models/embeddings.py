"""Textual-inversion embeddings: list them, and find those that a request's prompts name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.catalog import ModelSpec
from app.core.embeddings import EmbeddingFile, named_in, width_problem
from app.core.request import GenerationRequest
from app.errors import EmbeddingIncompatible, EmbeddingUnavailable, FieldError
from app.files import embeddings as files
from app.services.context import AppContext
from app.services.models.capabilities import config_of, known_spec
from app.services.models.fleet import Fleet, fleet_of

_FIELDS = ("prompt", "negative_prompt", "settings.prompt_2")


@dataclass(frozen=True)
class KnownEmbedding:
    """An embedding that prompts may name by `id`. `file` is None if it cannot be used, which `problem` explains;
    `models` are those of the catalogue whose text encoders it fits."""

    id: str
    file: EmbeddingFile | None
    problem: str | None
    models: Sequence[str] = ()


def listing(context: AppContext) -> list[KnownEmbedding]:
    """The files of EMBEDDINGS_DIR, sorted by name."""
    encoders = {spec.id: _encoders(context, spec) for spec in context.catalog if _reads(known_spec(context, spec))}
    found = []
    for name, path in sorted(files.names(context.settings.embeddings_folder).items()):
        try:
            file = files.inspect(path)
        except EmbeddingUnavailable as error:
            found.append(KnownEmbedding(name, None, error.detail))
            continue
        fitting = [id for id, widths in encoders.items() if widths and not width_problem(file.widths, widths)]
        found.append(KnownEmbedding(name, file, None, fitting))
    return found


def with_embeddings(
    context: AppContext, spec: ModelSpec, request: GenerationRequest, fleet: Fleet | None = None
) -> tuple[GenerationRequest, Sequence[str]]:
    """`request` with the embeddings that its prompts name, of those that a worker of `fleet` has (None: as it is now),
    and warnings. Raises EmbeddingUnavailable for a damaged file, EmbeddingIncompatible for one of other text
    encoders."""
    if spec.lane != "local" or request.prompt_weighting == "off":
        return request, ()
    prompts = (request.prompt, request.negative_prompt, request.prompt_2)
    texts = {field: text or "" for field, text in zip(_FIELDS, prompts, strict=True)}
    fleet = fleet or fleet_of(context)
    reported = fleet.embeddings()
    known = files.names(context.settings.embeddings_folder) if fleet.own_disk else {}
    used = named_in(texts.values(), {**reported, **known})
    if not used:
        return request, ()
    if spec.options.prompt_weights is False:
        whole = " ".join(texts.values()).casefold()
        tagged = [name for name in used if f"<{name}>".casefold() in whole]
        return request, [f"{spec.id} reads no embeddings: <{name}> is text for it." for name in tagged]
    encoders = _encoders(context, spec)
    for name in used:
        field = next(field for field, text in texts.items() if named_in([text], [name]))
        widths = _widths(known[name], field) if name in known and name not in reported else reported[name]
        if encoders and (problem := width_problem(widths, encoders)):
            message = f"names the embedding {name}, which does not fit {spec.id}: {problem}"
            raise EmbeddingIncompatible(f"{field} {message}.", errors=[FieldError(field, message)])
    return request.model_copy(update={"embeddings": tuple(used), "prompt_weighting": "auto"}), ()


def _widths(file: Path, field: str) -> Mapping[str, int]:
    try:
        return files.inspect(file).widths
    except EmbeddingUnavailable as error:
        raise EmbeddingUnavailable(error.detail, errors=[FieldError(field, error.detail.rstrip("."))]) from None


def missing(context: AppContext, used: Sequence[str]) -> list[str]:
    """Those of the embeddings `used` by an earlier request that no worker has any more."""
    if not used:
        return []
    fleet = fleet_of(context)
    known = files.names(context.settings.embeddings_folder) if fleet.own_disk else {}
    return [name for name in used if name not in known and name not in fleet.embeddings()]


def _reads(spec: ModelSpec) -> bool:
    return spec.lane == "local" and spec.options.prompt_weights is True


def _encoders(context: AppContext, spec: ModelSpec) -> list[int]:
    """The widths of its text encoders, as far as its files are here."""
    configs = (config_of(context, spec, part) for part in ("text_encoder", "text_encoder_2"))
    return [width for config in configs if isinstance(width := config.get("hidden_size"), int)]
