"""Generate a gallery picture again from its manifest, as a new job."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from app.core.inputs import CONTROL_FIELDS, InputChoice, role_of, slots
from app.core.output import Output
from app.core.request import GenerationInput, GenerationSettings
from app.core.rerun import RerunOf
from app.core.tasks import TEXT_TASKS, TXT2IMG, UPSCALE
from app.core.upscaling import Upscale
from app.errors import Conflict, UnknownModel
from app.services.context import AppContext
from app.services.jobs.submit import Submission, submit
from app.services.jobs.upscale import UpscaleOrder, upscale
from app.services.media.input_images import usable_image
from app.services.models.embeddings import missing


def rerun(context: AppContext, image_id: str, *, client_id: str, request_id: str | None = None) -> Submission:
    """Enqueue the picture's request again with its seed. The job's warnings list what has changed since then.

    Raises ImageNotFound, Gone, Conflict if it cannot be generated again, and all that `submit` raises.
    """
    output = usable_image(context, image_id, client_id=client_id)
    manifest = output.manifest
    if manifest.get("task") == UPSCALE:
        return _enlarged_again(context, output, client_id=client_id, request_id=request_id)
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
    return submit(context, asked, client_id=client_id, request_id=request_id, rerun_of=_rerun_of(output))


def _enlarged_again(context: AppContext, output: Output, *, client_id: str, request_id: str | None) -> Submission:
    """The same for a picture that an upscaler made."""
    manifest = output.manifest
    source = _inputs(context, output, of=output.index)[0]
    try:
        made = Upscale.model_validate(manifest["settings"]["upscale"])
    except (KeyError, ValidationError):
        raise Conflict("The picture's manifest does not say how it was made.") from None
    return upscale(
        context,
        UpscaleOrder(
            sources=(source.source,),
            factor=made.factor,
            model=made.model,
            prompt=str(manifest.get("prompt") or ""),
            negative_prompt=manifest.get("negative_prompt"),
            seed=output.seed,
        ),
        client_id=client_id,
        request_id=request_id,
        rerun_of=_rerun_of(output),
    )


def _rerun_of(output: Output) -> RerunOf:
    versions = {name: str(value) for name, value in output.manifest.get("versions", {}).items()}
    return RerunOf(image_id=output.id, versions=versions, notes=_notes(output.manifest))


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


def _inputs(context: AppContext, output: Output, *, of: int | None = None) -> Sequence[InputChoice]:
    """The stored input pictures of the output's job, as base64; only that of output number `of`, if it has its own."""
    described = output.manifest.get("inputs") or {}
    if output.manifest.get("task", TXT2IMG) in TEXT_TASKS and not described:
        return ()
    kept = context.inputs.pngs(output.job_id)
    missing = [slot for slot in described if slot not in kept]
    if missing or not kept:
        raise Conflict(f"The {' and '.join(missing) or 'image'} that this picture was made from is no longer stored.")
    if of is not None:
        kept = {slot: kept[slot] for slot in slots(["image"] * (of + 1))[of:] if slot in kept}
    in_order = sorted(kept, key=list(described).index) if described.keys() >= kept.keys() else list(kept)
    return [_choice(slot, kept[slot], described.get(slot, {})) for slot in in_order]


def _choice(slot: str, png: bytes, described: dict[str, Any]) -> InputChoice:
    """One input picture as it was sent; `described` is its reference in the manifest."""
    more = {name: described[name] for name in CONTROL_FIELDS if described.get(name) is not None}
    return InputChoice.model_validate({"role": role_of(slot), "source": base64.b64encode(png).decode(), **more})
