"""Reads a claimed job's input images as arrays for its engine."""

from __future__ import annotations

from app.core.job import Claim
from app.engines.base import NO_INPUTS, Inputs, Pixels
from app.errors import GenerationError
from app.services.context import AppContext


def read_inputs(context: AppContext, claim: Claim) -> Inputs:
    """The job's input images by slot. Empty for text-only jobs and for those with a provider's native input, which
    names its images itself. Raises GenerationError when one is missing."""
    remote = claim.request.remote
    if remote is not None and remote.input is not None:
        return NO_INPUTS
    if not claim.request.pictures:
        return NO_INPUTS
    from app.files.inputs import pixels_of

    kept = context.inputs.pngs(claim.job_id)
    found: dict[str, Pixels] = {}
    for slot in claim.request.slots:
        if slot not in kept:
            raise GenerationError(f"The {slot} of this job is no longer in the database. Submit it again.")
        found[slot] = pixels_of(kept[slot])
    return found
