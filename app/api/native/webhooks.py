"""Webhook deliveries: list and replay."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from app.api.http.openapi import DeliveryPath, blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.webhooks import DeliveriesBody, DeliveryBody
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.core.json_values import IN_ANY_CASE
from app.core.webhooks import DeliveryState
from app.errors import DeliveryNotFound, InvalidRequest
from app.services.webhooks import signing

api = blueprint("webhooks", "webhooks")


class DeliveryFilter(RequestModel):
    model_config = ConfigDict(extra="forbid")

    job_id: str | None = Field(default=None, max_length=32, description="Only about this job.")
    state: Annotated[DeliveryState | None, IN_ANY_CASE] = Field(default=None, description="In any case.")
    limit: int = Field(default=50, ge=1, le=200)
    cursor: int | None = Field(default=None, ge=1, lt=2**63, description="The `next_cursor` of the page before.")


@api.get(
    "/api/webhooks/deliveries",
    access=Access.USER,
    budget="read",
    responses=responses({200: DeliveriesBody}, InvalidRequest),
)
def webhook_deliveries(query: DeliveryFilter) -> DeliveriesBody:
    """List webhook deliveries, newest first"""
    found = signing.page(
        app_context(),
        job_id=query.job_id,
        state=query.state,
        limit=query.limit,
        before_seq=query.cursor,
        owner=identity().scope,
    )
    return DeliveriesBody(deliveries=[DeliveryBody.of(one) for one in found.deliveries], next_cursor=found.next)


@api.post(
    "/api/webhooks/deliveries/<delivery_id>/replay",
    access=Access.USER,
    budget="read",
    responses=responses({200: DeliveryBody}, DeliveryNotFound),
    description="With fresh tries and the same `webhook-id`, whatever its state.",
)
def replay_webhook(path: DeliveryPath) -> DeliveryBody:
    """Replay a webhook delivery"""
    return DeliveryBody.of(signing.replay(app_context(), path.delivery_id))
