"""What providers tell us by webhook. A message is believed by its signature, and does no harm however often or late it
comes: an ended prediction stays as it ended, and only the worker that has the job fetches its files.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from app.errors import InvalidRequest, ModelUnavailable, NotFound, Unauthorized
from app.providers.calls import Away, ProviderFault
from app.providers.replicate import report_of
from app.services.context import AppContext
from app.services.remote.models import SOURCE, RemoteModels

ASK_AGAIN_SECONDS = 60.0


class ReplicateWebhooks:
    """Checks with REPLICATE_WEBHOOK_SECRET, or with what Replicate itself says it signs with."""

    def __init__(self, context: AppContext, models: RemoteModels) -> None:
        self._context = context
        self._models = models
        self._asked_at = float("-inf")
        self._secret = context.settings.replicate_webhook_secret.get_secret_value()

    def receive(self, headers: Mapping[str, str], raw: bytes, *, intent: str | None) -> None:
        """Write down what a message says. Raises Unauthorized when it is not Replicate's or too old, InvalidRequest
        when it is no prediction, NotFound when it is none of ours: that leaves no trace."""
        self._check(headers, raw)
        try:
            report = report_of(json.loads(raw))
        except (ValueError, Away):
            raise InvalidRequest("The message is no prediction.") from None
        job_id = self._context.predictions.observed(SOURCE, report, intent=intent)
        if job_id is None:
            raise NotFound("There is no such prediction here.")
        self._context.notifications.ring("news", job_id)

    def _check(self, headers: Mapping[str, str], raw: bytes) -> None:
        try:
            Webhook(self._signed_with()).verify(raw, dict(headers), json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):  # ValueError: no base64
            raise Unauthorized("The signature does not fit, or the message is too old.") from None

    def _signed_with(self) -> str:
        if not self._secret and time.monotonic() - self._asked_at > ASK_AGAIN_SECONDS:
            self._asked_at = time.monotonic()  # strangers must not make us ask all the time
            with contextlib.suppress(ProviderFault, ModelUnavailable):
                self._secret = self._models.api.webhook_secret()
        if not self._secret:
            raise Unauthorized("It cannot be checked: REPLICATE_WEBHOOK_SECRET is not set, nor told by Replicate.")
        return self._secret
