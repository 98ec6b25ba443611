"""LoRAs: list them, name them, and check that they fit a request's model.

The model family of a LoRA is read from its file's header, without loading it; the worker compares it tensor by
tensor with the model before generating.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.core.catalog import ModelSpec
from app.core.loras import FAMILIES, LoraFile, families_of_pipeline, fits
from app.core.request import LoraChoice
from app.errors import FieldError, InvalidRequest, LoraIncompatible, LoraUnavailable
from app.files import loras as files
from app.services.context import AppContext
from app.services.models.capabilities import pipeline_class_of
from app.services.models.fleet import Fleet, fleet_of

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class KnownLora:
    """A LoRA that requests may name by `id`. `stands_for` is the file or repo behind a name given with `load`.

    `card` is None while it is not on this machine, or if it cannot be used, which `problem` explains. `models` are
    the catalogue's models that fit its family. `on_worker`: a worker elsewhere reports its file, of `worker_family`.
    """

    id: str
    stands_for: str | None
    card: LoraFile | None
    problem: str | None
    models: Sequence[str] = ()
    on_worker: bool = False
    worker_family: str | None = None

    @property
    def available(self) -> bool:
        return self.card is not None or self.on_worker

    @property
    def known_family(self) -> str | None:
        return self.worker_family if self.card is None else self.card.family


def listing(context: AppContext) -> list[KnownLora]:
    """The files of LORAS_DIR, those that only workers elsewhere have, and the registered names, each sorted by name."""
    folder = context.settings.loras_folder
    named = context.lora_names.all()
    own = dict.fromkeys(files.name_of(folder, file) for file in files.all_files(folder))
    here = [_known(context, lora_id) for lora_id in own if lora_id not in named]
    elsewhere = _elsewhere(context, {*own, *named})
    return here + elsewhere + [_known(context, lora_id, name) for name, lora_id in named.items()]


def _elsewhere(context: AppContext, known: Collection[str]) -> list[KnownLora]:
    """Those that workers report and that are not `known`."""
    reported: dict[str, str | None] = {}
    for report in fleet_of(context).reports():
        reported |= {name: family for name, family in report.loras.items() if name not in known}
    return [
        KnownLora(name, None, None, None, _models_for(context, family), on_worker=True, worker_family=family)
        for name, family in sorted(reported.items())
    ]


def load(context: AppContext, lora_path: str, name: str | None = None) -> KnownLora:
    """Register the LoRA `lora_path` (a file of LORAS_DIR or a hub repo) for requests, optionally under `name`.

    A file is checked now; a hub LoRA is downloaded by the worker that first needs it. Workers load it with the first
    job that uses it. Raises LoraUnavailable, or InvalidRequest for an invalid name.
    """
    known = _known(context, lora_path, name)
    if known.problem is not None and fleet_of(context).has_lora(lora_path) is None:
        raise LoraUnavailable(known.problem)
    if name is not None:
        if not _NAME.fullmatch(name):
            message = "must be 1 to 100 letters, digits, dots, dashes or underscores, the first a letter or digit"
            raise InvalidRequest(f"name {message}.", errors=[FieldError("name", message)])
        context.lora_names.put(name, lora_path)
    return known


def unload(context: AppContext, name: str) -> bool:
    """Delete a name registered by `load`, in any case. Returns whether it existed.

    Files and accepted jobs are kept; workers evict LoRAs by themselves, least recently used first.
    """
    return context.lora_names.remove(name)


def resolved(context: AppContext, name: str) -> str:
    """The file or repo that the registered `name` stands for, in any case; `name` itself if it is none."""
    return _by_any_case(context).get(name.casefold(), name)


def _by_any_case(context: AppContext) -> dict[str, str]:
    return {name.casefold(): lora_id for name, lora_id in context.lora_names.all().items()}


def families(context: AppContext) -> dict[str, str | None]:
    """The usable files of LORAS_DIR by name, with the family of each, None where it is unknown."""
    folder, found = context.settings.loras_folder, dict[str, str | None]()
    for file in files.all_files(folder):
        name = files.name_of(folder, file)
        with contextlib.suppress(LoraUnavailable, OSError):  # damaged, or a link to nothing
            status = file.stat()
            found[name] = _inspect(file, name, status.st_size, status.st_mtime_ns).family
    return found


def check_loras(
    context: AppContext, spec: ModelSpec, wanted: Sequence[LoraChoice], fleet: Fleet | None = None
) -> tuple[LoraChoice, ...]:
    """`wanted` with registered names resolved, if they fit `spec` as far as is known by now, and a worker of `fleet`
    (None: as it is now) has each.

    Raises LoraUnavailable or LoraIncompatible.
    """
    if not wanted:
        return ()
    if spec.source not in ("local", "huggingface"):
        raise _refused(LoraIncompatible, f"{spec.id} runs elsewhere and does not support LoRAs")
    named, fleet = _by_any_case(context), fleet or fleet_of(context)
    pipeline_class = pipeline_class_of(context, spec)
    meant: list[LoraChoice] = []
    for choice in wanted:
        known = _known(context, named.get(choice.id.casefold(), choice.id))
        family = _family_on(fleet, known)
        if pipeline_class is not None and not fits(family, pipeline_class):
            made_for = FAMILIES.get(family or "", family)
            raise _refused(LoraIncompatible, f"The LoRA {choice.id} does not fit {spec.id}: it was made for {made_for}")
        meant.append(LoraChoice(id=known.stands_for or known.id, scale=choice.scale))
    return tuple(meant)


def _family_on(fleet: Fleet, known: KnownLora) -> str | None:
    """The family of a LoRA that a worker has, None where it is unknown. Raises LoraUnavailable if none has it."""
    if fleet.own_disk and known.problem is None:
        return None if known.card is None else known.card.family
    lora_id = known.stands_for or known.id
    report = fleet.has_lora(lora_id)
    if report is not None:
        return report.lora_family(lora_id)
    if fleet.own_disk and known.problem is not None:
        raise _refused(LoraUnavailable, known.problem.rstrip("."))
    where = " or ".join(sorted({worker.host for worker in fleet.workers})[:3])
    advice = f"Put its .safetensors file into LORAS_DIR of a worker{f', such as on {where}' if where else ''}"
    raise _refused(LoraUnavailable, f"No worker has the LoRA {lora_id!r}. {advice}")


def _known(context: AppContext, lora_id: str, name: str | None = None) -> KnownLora:
    settings = context.settings
    file, repo = files.find(settings.loras_folder, lora_id), files.repo_of(lora_id)
    if file is None and files.is_broken_link(settings.loras_folder, lora_id):
        problem = f"The LoRA {lora_id} is a link to a missing file. Repair the link in LORAS_DIR."
        return KnownLora(name or lora_id, lora_id if name else None, None, problem)
    if file is None and repo is not None and settings.lora_hub:
        file = files.in_hub_cache(settings.hub_cache, *repo)
        if file is None:
            return KnownLora(name or lora_id, lora_id if name else None, None, None)
    if file is None:
        problem = f"There is no LoRA {lora_id!r}. Put its .safetensors file into LORAS_DIR, or name a hub repo."
        return KnownLora(name or lora_id, lora_id if name else None, None, problem)
    try:
        status = file.stat()
        card = _inspect(file, lora_id, status.st_size, status.st_mtime_ns)
    except (LoraUnavailable, OSError) as error:
        problem = error.detail if isinstance(error, LoraUnavailable) else f"The LoRA {lora_id} cannot be read."
        return KnownLora(name or lora_id, lora_id if name else None, None, problem)
    return KnownLora(name or lora_id, lora_id if name else None, card, None, _models_for(context, card.family))


def _models_for(context: AppContext, family: str | None) -> Sequence[str]:
    """Models whose pipeline is known and of a LoRA's family."""
    if family is None:
        return ()
    classes = {spec.id: pipeline_class_of(context, spec) for spec in context.catalog}
    return [model_id for model_id, name in classes.items() if name and family in (families_of_pipeline(name) or ())]


@lru_cache(maxsize=5000)
def _inspect(file: Path, lora_id: str, size: int, modified: int) -> LoraFile:
    return files.inspect(file, lora_id)


def _refused(kind: type[LoraUnavailable] | type[LoraIncompatible], message: str) -> LoraUnavailable | LoraIncompatible:
    return kind(f"{message}.", errors=[FieldError("settings.loras", message)])
