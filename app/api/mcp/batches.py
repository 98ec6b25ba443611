"""Tools for many pictures at once: submit a batch, and see how far it is."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import ValidationError

from app.api.http.headers import request_id
from app.api.http.problems import refuse
from app.api.mcp.arguments import GetBatch, SubmitBatch
from app.api.mcp.content import addresses, structured, text
from app.api.mcp.messages import Call, response
from app.api.mcp.waiting import Waited
from app.api.schemas.mcp import BatchResult
from app.api.security.authorization import check_owned
from app.api.security.client_identity import client_id
from app.api.server.context import ApiContext
from app.core.batches.batch import BatchStatus
from app.core.batches.request import BatchInput
from app.errors import FieldError, InvalidRequest
from app.services.batches.grid import grid
from app.services.batches.submit import BatchOptions, plan_of, submit_batch
from app.services.batches.view import view

MOST_JOBS = 200  # of one call: an assistant that is wrong about a template must not fill the queue
PLACES_SHOWN = 50
_SHEET_CELL, _MOST_SHEET_BYTES = 128, 500_000


def submit_a_batch(here: ApiContext, call: Call, sent: SubmitBatch, key: str | None) -> Waited:
    asked = batch_input(sent)
    if (number := plan_of(here.context, asked).count) > MOST_JOBS:
        message = f"would be {number:,} jobs; this tool submits {MOST_JOBS} at most, so take fewer values"
        raise InvalidRequest(f"The batch {message}.", errors=[FieldError("axes", message)])
    options = BatchOptions(name=sent.name)
    made = submit_batch(
        here.context, asked, options, client_id=client_id(), idempotency_key=key, request_id=request_id()
    )
    body = BatchResult.of(view(here.context, made.batch_id), addresses(here.context), made.warnings)
    words = f"Batch {made.batch_id} of {made.jobs} jobs is queued. Ask get_batch for it."
    return response(call, structured(body, [text(words)]))


def get_batch(here: ApiContext, call: Call, sent: GetBatch, key: str | None) -> Waited:
    check_owned("batch_id", sent.batch_id)
    found = view(here.context, sent.batch_id, offset=sent.offset, limit=PLACES_SHOWN)
    body = BatchResult.of(found, addresses(here.context), found.batch.warnings)
    words = f"Batch {body.batch_id}: {body.status}, {body.percent} % of {body.jobs} jobs have ended."
    content = [text(words)]
    if found.batch.status is BatchStatus.ENDED:
        content += _sheet(here, sent.batch_id)
    return response(call, structured(body, content))


def batch_input(sent: SubmitBatch) -> BatchInput:
    """The batch that an assistant asks for. Raises InvalidRequest."""
    try:
        return BatchInput.model_validate(sent.model_dump(exclude={"name"}, exclude_none=True))
    except ValidationError as error:
        refuse(error)


def _sheet(here: ApiContext, batch_id: str) -> list[dict[str, Any]]:
    """The contact sheet, if it is small enough for an answer."""
    try:
        sheet = b"".join(grid(here.context, batch_id, "webp", cell=_SHEET_CELL))
    except InvalidRequest:
        return []
    if len(sheet) > _MOST_SHEET_BYTES:
        return []
    return [{"type": "image", "data": base64.b64encode(sheet).decode(), "mimeType": "image/webp"}]
