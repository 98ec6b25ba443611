"""POST /cleanup: retention and orphan files, now."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.server import CleanupBody
from app.api.server.context import api_context
from app.errors import Conflict, DatabaseUnavailable
from app.services.ops.cleanup import clean_up

api = blueprint("upkeep", "server")


class CleanupQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="1 = only say what would be removed.")


@api.post(
    "/cleanup",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: CleanupBody}, Conflict, DatabaseUnavailable),
    description="Removes what the settings `RETENTION_*` say, and files that belong to nothing. Favourites stay.",
)
def cleanup(query: CleanupQuery) -> CleanupBody:
    """Run the clean-up now"""
    here = api_context()
    if not here.cleaning.acquire(blocking=False):
        raise Conflict("A clean-up is under way already. Wait until it has ended.")
    try:
        return CleanupBody.read(clean_up(here.context, dry_run=query.dry_run))
    finally:
        here.cleaning.release()
