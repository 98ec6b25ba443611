"""The pictures that a claimed job starts from, as its engine wants them."""

from __future__ import annotations

from app.core.inputs import Role
from app.core.job import Claim
from app.engines.base import NO_INPUTS, Inputs, Pixels
from app.errors import GenerationError
from app.services.context import AppContext


def read_inputs(context: AppContext, claim: Claim) -> Inputs:
    """Empty for a job that starts from words alone, and for one in a provider's own words, which name the picture.
    Raises GenerationError when one is missing."""
    remote = claim.request.remote
    if remote is not None and remote.input is not None:
        return NO_INPUTS
    wanted: tuple[Role, ...] = ("image", "mask")
    wanted = tuple(role for role in wanted if getattr(claim.request, role) is not None)
    if not wanted:
        return NO_INPUTS
    from app.files.inputs import pixels_of

    kept = context.inputs.pngs(claim.job_id)
    found: dict[Role, Pixels] = {}
    for role in wanted:
        if role not in kept:
            raise GenerationError(f"The {role} of this job is no longer in the database. Submit it again.")
        found[role] = pixels_of(kept[role])
    return found
