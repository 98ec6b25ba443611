"""Repeated requests of clients that try again by themselves and send no Idempotency-Key: they join the first job.

The first try gets a key made of the request's digest; a later one is recognised by it. The first try of an equal
request, meant as another one, gets another key.
"""

from __future__ import annotations

import secrets

from app.core.job import JobStatus
from app.core.request import GenerationInput
from app.errors import Gone, NotFound
from app.services.context import AppContext
from app.services.jobs.submit import request_digest

WINDOW_SECONDS = 3600.0  # after the first try: clients wait up to ten minutes for each of three


def key_of_try(
    context: AppContext, asked: GenerationInput, *, client_id: str, is_repeat: bool, webhook_url: str | None = None
) -> str:
    """The idempotency key of this try. A job that was cancelled is not joined."""
    prefix = f"try:{request_digest(asked, 0, webhook_url)}:"
    if is_repeat:
        found = context.jobs.newest_key(client_id, prefix, within_seconds=WINDOW_SECONDS)
        if found is not None and not _is_cancelled(context, found[1]):
            return found[0]
    return prefix + secrets.token_hex(8)


def _is_cancelled(context: AppContext, job_id: str) -> bool:
    try:
        job = context.jobs.get(job_id)
    except (NotFound, Gone):
        return True
    return job.cancel_requested or job.status is JobStatus.CANCELLED
