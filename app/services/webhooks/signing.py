"""Outgoing webhooks: check URLs, sign messages, list and replay deliveries.

`dispatcher.py` sends the messages; `app.store.queue.outbox` creates them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook

from app.core.webhooks import URL_MAX_CHARS, Delivery, DeliveryState
from app.errors import FieldError, InvalidRequest
from app.providers.ssrf_guard import url_problem
from app.services.context import AppContext

_KEY_BYTES = 32


@dataclass(frozen=True)
class Page:
    """`next` is the `before_seq` of the following page, None on the last one."""

    deliveries: Sequence[Delivery]
    next: int | None


def check_url(context: AppContext, url: str) -> str:
    """Return `url` if webhooks may be sent to it, as far as can be checked without DNS. Raises InvalidRequest."""
    problem = f"has {len(url)} characters; at most {URL_MAX_CHARS} are allowed" if len(url) > URL_MAX_CHARS else None
    problem = problem or url_problem(url, allow_private=context.settings.webhook_allow_private)
    if problem is not None:
        raise InvalidRequest(f"webhook_url {problem}.", errors=[FieldError("webhook_url", problem)])
    return url


def signing_secrets(context: AppContext) -> Sequence[str]:
    """The secrets for verifying signatures, as `whsec_…`: the configured ones, or one generated once and stored."""
    configured = context.settings.webhook_secret.get_secret_value().split()
    return configured or [context.webhooks.signing_key(_make_secret)]


def signed_headers(keys: Sequence[str], delivery: Delivery) -> Mapping[str, str]:
    """The headers of an attempt made now; the message's id is the same for all attempts. A receiver accepts it if it
    knows one of the secrets (Standard Webhooks)."""
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(delivery.id, now, delivery.payload) for secret in keys]
    return {
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def page(
    context: AppContext,
    *,
    job_id: str | None = None,
    state: DeliveryState | None = None,
    limit: int = 50,
    before_seq: int | None = None,
    owner: str | None = None,
) -> Page:
    """The newest deliveries first, `limit` at a time; only for jobs of `owner`, if given."""
    found = context.webhooks.page(job_id=job_id, state=state, limit=limit + 1, before_seq=before_seq, owner=owner)
    deliveries = found[:limit]
    return Page(deliveries, deliveries[-1].seq if len(found) > limit else None)


def replay(context: AppContext, delivery_id: str) -> Delivery:
    """Send a message again, in whatever state it is. Raises DeliveryNotFound."""
    return context.webhooks.replay(delivery_id)


def _make_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
