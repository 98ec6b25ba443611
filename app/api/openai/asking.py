"""Submit a request of OpenAI's interface, and notice when its client leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from flask import request

from app.api.http.headers import request_id
from app.api.openai.bodies import Drawing
from app.api.openai.translation import Presentation, own_names, presentation_of, translated
from app.api.security.client_identity import client_id
from app.api.server.context import ApiContext
from app.errors import Conflict, Gone, NotFound
from app.services.context import AppContext
from app.services.jobs.cancel import cancel
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


def cancelling(here: ApiContext, job_id: str) -> Callable[[], None]:
    """What to do when the client of the current request leaves before its job has ended: as FACADE_CANCEL_ON_DISCONNECT
    says. A job that another call waits for goes on."""

    def on_disconnect() -> None:
        if here.context.settings.facade_cancel_on_disconnect and not here.stream_hub.is_followed(job_id):
            with contextlib.suppress(Conflict, NotFound, Gone):
                cancel(here.context, job_id)

    return on_disconnect
