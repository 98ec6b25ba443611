"""Generate a gallery picture again from its manifest, as a new job."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from app.core.inputs import CONTROL_FIELDS, InputChoice, role_of
from app.core.output import Output
from app.core.request import GenerationInput, GenerationSettings
from app.core.rerun import RerunOf
from app.core.tasks import TEXT_TASKS, TXT2IMG
from app.errors import Conflict, UnknownModel
from app.services.context import AppContext
from app.services.jobs.submit import Submission, submit
from app.services.media.input_images import usable_image
from app.services.models.embeddings import missing


def rerun(context: AppContext, image_id: str, *, client_id: str, request_id: str | None = None) -> Submission:
    """Enqueue the picture's request again with its seed. The job's warnings list what has changed since then.

    Raises ImageNotFound, Gone, Conflict if it cannot be generated again, and all that `submit` raises.
    """
    output = usable_image(context, image_id, client_id=client_id)
    manifest = output.manifest
    try:
        spec = context.catalog.get(str(manifest.get("model_id")))
    except UnknownModel:
        raise UnknownModel(
            f"The picture was made with {output.model_id}, which is no longer in the catalogue. Add its MODEL_ line."
        ) from None
    if spec.lane != "local":
        raise Conflict(
            f"{spec.id} runs at a provider, which may change it any time: its pictures cannot be made again."
        )
    asked = _as_asked(manifest, _inputs(context, output))
    if gone := missing(context, [each["id"] for each in manifest.get("effective", {}).get("embeddings", ())]):
        raise Conflict(f"The embedding {gone[0]}, which this picture was made with, is no longer here.")
    versions = {name: str(value) for name, value in manifest.get("versions", {}).items()}
    return submit(
        context,
        asked,
        client_id=client_id,
        request_id=request_id,
        rerun_of=RerunOf(image_id=image_id, versions=versions, notes=_notes(manifest)),
    )


def _as_asked(manifest: dict[str, Any], inputs: Sequence[InputChoice]) -> GenerationInput:
    known = {name: value for name, value in manifest.get("settings", {}).items() if value is not None}
    try:
        return GenerationInput(
            prompt=manifest["prompt"],
            negative_prompt=manifest.get("negative_prompt"),
            model_id=manifest["model_id"],
            settings=GenerationSettings.model_validate(
                {name: value for name, value in known.items() if name in GenerationSettings.model_fields}
            ),
            inputs=tuple(inputs),
        )
    except (KeyError, ValidationError):
        raise Conflict("The picture's manifest does not say how it was made.") from None


def _notes(manifest: dict[str, Any]) -> tuple[str, ...]:
    if manifest.get("effective", {}).get("drawn_together", 1) == 1:
        return ()
    return ("The picture was generated together with others; generated alone it may differ by rounding.",)


def _inputs(context: AppContext, output: Output) -> Sequence[InputChoice]:
    """The stored input pictures of the output's job, as base64."""
    described = output.manifest.get("inputs") or {}
    if output.manifest.get("task", TXT2IMG) in TEXT_TASKS and not described:
        return ()
    kept = context.inputs.pngs(output.job_id)
    missing = [slot for slot in described if slot not in kept]
    if missing or not kept:
        raise Conflict(f"The {' and '.join(missing) or 'image'} that this picture was made from is no longer stored.")
    in_order = sorted(kept, key=list(described).index) if described.keys() >= kept.keys() else list(kept)
    return [_choice(slot, kept[slot], described.get(slot, {})) for slot in in_order]


def _choice(slot: str, png: bytes, described: dict[str, Any]) -> InputChoice:
    """One input picture as it was sent; `described` is its reference in the manifest."""
    more = {name: described[name] for name in CONTROL_FIELDS if described.get(name) is not None}
    return InputChoice.model_validate({"role": role_of(slot), "source": base64.b64encode(png).decode(), **more})
