"""Receives webhooks from providers. Messages are verified by signature and may arrive repeatedly or late: an ended
prediction keeps its state, and only the worker that has the job fetches its files.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from app.errors import InvalidRequest, ModelUnavailable, NotFound, Unauthorized
from app.providers.calls import ProviderFault, Unreachable
from app.providers.replicate import report_of
from app.services.context import AppContext
from app.services.remote.models import SOURCE, RemoteModels

ASK_AGAIN_SECONDS = 60.0


class ReplicateWebhooks:
    """Verifies with REPLICATE_WEBHOOK_SECRET, or else with the secret that Replicate's API returns."""

    def __init__(self, context: AppContext, models: RemoteModels) -> None:
        self._context = context
        self._models = models
        self._asked_at = float("-inf")
        self._secret = context.settings.replicate_webhook_secret.get_secret_value()

    def receive(self, headers: Mapping[str, str], raw: bytes, *, intent: str | None) -> None:
        """Store the reported state. Raises Unauthorized for an invalid signature or old message, InvalidRequest if it
        is not a prediction, NotFound (storing nothing) if the prediction is unknown here."""
        self._check(headers, raw)
        try:
            report = report_of(json.loads(raw))
        except (ValueError, Unreachable):
            raise InvalidRequest("The message is not a prediction.") from None
        job_id = self._context.predictions.observed(SOURCE, report, intent=intent)
        if job_id is None:
            raise NotFound("There is no such prediction here.")
        self._context.notifications.publish("news", job_id)

    def _check(self, headers: Mapping[str, str], raw: bytes) -> None:
        try:
            Webhook(self._signed_with()).verify(raw, dict(headers), json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):  # ValueError: invalid base64
            raise Unauthorized("The signature is invalid, or the message is too old.") from None

    def _signed_with(self) -> str:
        if not self._secret and time.monotonic() - self._asked_at > ASK_AGAIN_SECONDS:
            self._asked_at = time.monotonic()  # unverified messages must not trigger a request each
            with contextlib.suppress(ProviderFault, ModelUnavailable):
                self._secret = self._models.api.webhook_secret()
        if not self._secret:
            raise Unauthorized("Cannot verify: set REPLICATE_WEBHOOK_SECRET (Replicate's API did not return a secret).")
        return self._secret
