"""Webhooks that providers send us."""

from __future__ import annotations

from flask import request
from pydantic import Field

from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.server import HealthBody
from app.api.server.context import api_context
from app.errors import InvalidRequest, NotFound, PayloadTooLarge, Unauthorized

api = blueprint("provider_webhooks", "remote models")


class Intent(RequestModel):
    prediction: str | None = Field(
        default=None, pattern="^[0-9a-f]{32}$", description="Ours for it; it stands in the address that we gave."
    )


@api.post(
    "/api/webhooks/replicate",
    access=Access.PUBLIC,
    budget="read",
    raw_body=True,
    responses=responses({200: HealthBody}, InvalidRequest, Unauthorized, NotFound, PayloadTooLarge),
    description="Signed as the Standard Webhooks say. The same message may come twice, late, or after later ones.",
)
def replicate_webhook(query: Intent) -> HealthBody:
    """Receive a prediction's state from Replicate"""
    api_context().provider_webhooks.receive(dict(request.headers), request.get_data(), intent=query.prediction)
    return HealthBody(status="ok")
