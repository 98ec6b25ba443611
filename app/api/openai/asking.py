"""Submit a request of OpenAI's interface."""

from __future__ import annotations

from flask import request

from app.api.http.headers import request_id
from app.api.openai.bodies import Drawing
from app.api.openai.translation import Presentation, own_names, presentation_of, translated
from app.api.security.client_identity import client_id
from app.services.context import AppContext
from app.services.jobs.repeats import key_of_try
from app.services.jobs.submit import Submission, submit
from app.services.models.capabilities import known_spec

RETRY_COUNT = "X-Stainless-Retry-Count"  # of OpenAI's SDKs: 0 at the first try


def ask(here: AppContext, body: Drawing, prompt: str, idempotency_key: str | None) -> tuple[Submission, Presentation]:
    """Enqueue `body`. A try that an SDK makes again by itself joins the job of the first. Raises what `submit` does."""
    with own_names(body):
        spec = known_spec(here, here.catalog.get(body.model))
        asked, warnings = translated(body, prompt, spec)
        key = idempotency_key
        if key is None and (tries := request.headers.get(RETRY_COUNT)) is not None:
            is_repeat = tries not in ("", "0")
            key = key_of_try(here, asked, client_id=client_id(), is_repeat=is_repeat, webhook_url=body.webhook_url)
        submitted = submit(
            here,
            asked,
            client_id=client_id(),
            idempotency_key=key,
            webhook_url=body.webhook_url,
            request_id=request_id(),
        )
    return submitted, presentation_of(body, warnings)
