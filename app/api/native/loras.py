"""GET /api/loras."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.loras import LorasBody
from app.api.server.context import app_context
from app.services.models import loras as service

api = blueprint("loras", "models")


@api.get(
    "/api/loras",
    access=Access.USER,
    budget="read",
    responses=responses({200: LorasBody}),
    description="The files of LORAS_DIR, and names that were given. Requests may also name a repo of the hub.",
)
def loras() -> LorasBody:
    """List the LoRAs and the models that each fits"""
    return LorasBody.of(service.listing(app_context()))
