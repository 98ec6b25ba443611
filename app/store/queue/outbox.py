"""Outbox: inserts the webhook message about a job's end, in the transaction that ends the job."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, insert, select

from app.core.job import Job, JobView
from app.core.output import Output
from app.core.webhooks import TRIES, DeliveryState, endpoint_of, event_of, receiver_of
from app.store.db.database import now
from app.store.db.schema import webhook_deliveries, webhook_pauses
from app.store.queue.predictions import newest_of

WebhookRenderer = Callable[[JobView], str]


def enqueue_webhooks(
    connection: Connection, job: Job, outputs: Sequence[Output] = (), *, render: WebhookRenderer
) -> None:
    """Insert the message about `job`, unless it has no `webhook_url` or has not ended.

    `render` makes the payload now, not when it is sent: by then the job may have been retried or removed.
    """
    if job.webhook_url is None or not job.status.terminal:
        return
    prediction = None if job.request.remote is None else newest_of(connection, job.id)
    enqueue_message(
        connection,
        job.id,
        event_of(job),
        job.webhook_url,
        render(JobView(job, outputs=outputs, prediction=prediction)),
        owner=job.client_id,
        traceparent=job.traceparent,
    )


def enqueue_message(
    connection: Connection,
    subject_id: str,
    event: str,
    url: str,
    payload: str,
    *,
    owner: str,
    traceparent: str | None = None,
) -> None:
    """Insert a message about the job or batch `subject_id`."""
    endpoint = endpoint_of(url)
    paused = webhook_pauses.c.endpoint == endpoint, webhook_pauses.c.until > now()
    paused_until = select(webhook_pauses.c.until).where(*paused).scalar_subquery()
    connection.execute(
        insert(webhook_deliveries).values(
            id=uuid.uuid4().hex,
            job_id=subject_id,
            event=event,
            url=url,
            receiver=receiver_of(url),
            endpoint=endpoint,
            payload=payload,
            state=DeliveryState.PENDING.value,
            attempt=0,
            tries_left=TRIES,
            due_at=func.coalesce(paused_until, now()),
            created_at=now(),
            owner=owner,
            traceparent=traceparent,
        )
    )
