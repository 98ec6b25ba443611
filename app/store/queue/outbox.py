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
    endpoint = endpoint_of(job.webhook_url)
    paused = webhook_pauses.c.endpoint == endpoint, webhook_pauses.c.until > now()
    paused_until = select(webhook_pauses.c.until).where(*paused).scalar_subquery()
    prediction = None if job.request.remote is None else newest_of(connection, job.id)
    connection.execute(
        insert(webhook_deliveries).values(
            id=uuid.uuid4().hex,
            job_id=job.id,
            event=event_of(job),
            url=job.webhook_url,
            receiver=receiver_of(job.webhook_url),
            endpoint=endpoint,
            payload=render(JobView(job, outputs=outputs, prediction=prediction)),
            state=DeliveryState.PENDING.value,
            attempt=0,
            tries_left=TRIES,
            due_at=func.coalesce(paused_until, now()),
            created_at=now(),
            owner=job.client_id,
            traceparent=job.traceparent,
        )
    )
