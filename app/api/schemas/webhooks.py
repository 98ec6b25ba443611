"""Webhook deliveries."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.core.response_body import ResponseBody, Time
from app.core.times import iso, iso_or_none
from app.core.webhooks import Delivery, DeliveryState


class DeliveryBody(ResponseBody):
    delivery_id: str = Field(description="The `webhook-id` header of every try.")
    job_id: str = Field(description="Of a message about a batch: the id of the batch.")
    event: str = Field(description="`job.completed`, `job.failed`, `job.cancelled`, `batch.progress` or `batch.ended`.")
    receiver: str = Field(description="Scheme and host of the `webhook_url`; the rest of it may be a secret.")
    state: DeliveryState
    attempt: int
    next_attempt_at: Time | None
    created_at: Time
    attempted_at: Time | None
    delivered_at: Time | None
    response_status: int | None = Field(description="What the receiver answered to the last try, if it did.")
    error: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls.read(
            delivery,
            delivery_id=delivery.id,
            next_attempt_at=iso(delivery.due_at) if delivery.state is DeliveryState.PENDING else None,
            created_at=iso(delivery.created_at),
            attempted_at=iso_or_none(delivery.attempted_at),
            delivered_at=iso_or_none(delivery.delivered_at),
        )


class DeliveriesBody(ResponseBody):
    deliveries: list[DeliveryBody]
    next_cursor: int | None = Field(description="Send it as `cursor` for the next page; null on the last one.")
