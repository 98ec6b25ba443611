"""Make a picture of the gallery again, from its manifest, as a new job."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import ValidationError

from app.core.output import Output
from app.core.request import GenerationInput, GenerationSettings
from app.core.rerun import RerunOf
from app.core.tasks import TEXT_TASKS, TXT2IMG
from app.errors import Conflict, UnknownModel
from app.services.context import AppContext
from app.services.jobs.submit import Submission, submit
from app.services.media.input_images import usable_image


def rerun(context: AppContext, image_id: str, *, client_id: str, request_id: str | None = None) -> Submission:
    """Enqueue what made the picture, seed and all. What has changed since then is told by the job's warnings.

    Raises ImageNotFound, Gone, Conflict when it cannot be made again, and whatever `submit` raises.
    """
    output = usable_image(context, image_id, client_id=client_id)
    manifest = output.manifest
    try:
        spec = context.catalog.get(str(manifest.get("model_id")))
    except UnknownModel:
        raise UnknownModel(
            f"The picture was made with {output.model_id}, which is not in the catalogue any more. Add its MODEL_ line."
        ) from None
    if spec.lane != "local":
        raise Conflict(f"{spec.id} runs at a provider, who may change it at any time: no picture can be made again.")
    asked = _as_asked(manifest, _inputs(context, output))
    versions = {name: str(value) for name, value in manifest.get("versions", {}).items()}
    return submit(
        context,
        asked,
        client_id=client_id,
        request_id=request_id,
        rerun_of=RerunOf(image_id=image_id, versions=versions, notes=_notes(manifest)),
    )


def _as_asked(manifest: dict[str, Any], inputs: dict[str, str]) -> GenerationInput:
    known = {name: value for name, value in manifest.get("settings", {}).items() if value is not None}
    try:
        return GenerationInput(
            prompt=manifest["prompt"],
            negative_prompt=manifest.get("negative_prompt"),
            model_id=manifest["model_id"],
            settings=GenerationSettings.model_validate(
                {name: value for name, value in known.items() if name in GenerationSettings.model_fields}
            ),
            **inputs,
        )
    except (KeyError, ValidationError):
        raise Conflict("The picture's manifest does not say how it was made.") from None


def _notes(manifest: dict[str, Any]) -> tuple[str, ...]:
    if manifest.get("effective", {}).get("drawn_together", 1) == 1:
        return ()
    return ("The picture was drawn together with others; drawn alone it may differ by a rounding.",)


def _inputs(context: AppContext, output: Output) -> dict[str, str]:
    """The pictures that it was made of, as they were used."""
    if output.manifest.get("task", TXT2IMG) in TEXT_TASKS:
        return {}
    kept = context.inputs.pngs(output.job_id)
    missing = [role for role in output.manifest.get("inputs", {}) if role not in kept]
    if missing or not kept:
        raise Conflict(f"The {' and '.join(missing) or 'image'} that this picture was made of is not kept any more.")
    return {role: base64.b64encode(png).decode() for role, png in kept.items()}
