"""Submit a request of the versioned API to the queue."""

from __future__ import annotations

from app.api.http.headers import request_id
from app.api.security.client_identity import client_id
from app.api.v1.bodies import Flat, flat_field_names
from app.errors import FieldError, UnsupportedTask
from app.services.context import AppContext
from app.services.jobs.submit import Submission, submit


def ask(here: AppContext, body: Flat, idempotency_key: str | None = None) -> Submission:
    """Enqueue `body`. Raises what `submit` raises, in the client's words, and UnsupportedTask for a model of videos."""
    asked = body.asked()
    with flat_field_names():
        spec = here.catalog.get(asked.model_id)
        if spec.media != "image":
            message = f"{spec.id} makes videos, and here the answer is a picture; send it to /api/generate"
            raise UnsupportedTask(f"{message}.", errors=[FieldError("model_id", message)])
        return submit(
            here,
            asked,
            client_id=client_id(),
            idempotency_key=idempotency_key,
            webhook_url=body.webhook_url,
            request_id=request_id(),
        )
