"""POST /cleanup: retention and orphan files, now."""

from __future__ import annotations

import logging

from pydantic import ConfigDict, Field

from app.api.http.headers import request_id
from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.server import CleanupBody
from app.api.security.client_identity import client_id
from app.api.server.context import api_context
from app.core.json_values import Body
from app.errors import Conflict, DatabaseUnavailable
from app.services.ops.cleanup import clean_up

api = blueprint("cleanup", "server")

log = logging.getLogger("cyberimage.api")


_DRY_RUN = Field(default=False, description="1, or true in the body = only say what would be removed.")


class CleanupQuery(RequestModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: bool = _DRY_RUN


class CleanupFields(Body):
    dry_run: bool = _DRY_RUN


@api.post(
    "/cleanup",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: CleanupBody}, Conflict, DatabaseUnavailable),
    description="Removes what the settings `RETENTION_*` say, and files that belong to nothing. Favourites stay.",
)
def cleanup(query: CleanupQuery, body: CleanupFields) -> CleanupBody:
    """Run the clean-up now"""
    here, dry_run = api_context(), query.dry_run or body.dry_run
    if not here.cleaning.acquire(blocking=False):
        raise Conflict("A clean-up is under way already. Wait until it has ended.")
    try:
        report = clean_up(here.context, dry_run=dry_run)
        log.info("Clean-up asked for by %s: %s", client_id(), report, extra={"request_id": request_id()})
        return CleanupBody.read(report)
    finally:
        here.cleaning.release()
