"""Webhook deliveries."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.api.schemas.kinds import Time
from app.core.webhooks import DeliveryState


class DeliveryBody(BaseModel):
    delivery_id: str = Field(description="The `webhook-id` header of every try.")
    job_id: str
    event: str = Field(description="`job.completed`, `job.failed` or `job.cancelled`.")
    receiver: str = Field(description="Scheme and host of the `webhook_url`; the rest of it may be a secret.")
    state: DeliveryState
    attempt: int
    next_attempt_at: Time | None
    created_at: Time
    attempted_at: Time | None
    delivered_at: Time | None
    response_status: int | None = Field(description="What the receiver answered to the last try, if it did.")
    error: str | None


class DeliveriesBody(BaseModel):
    deliveries: list[DeliveryBody]
    next_cursor: int | None = Field(description="Send it as `cursor` for the next page; null on the last one.")
