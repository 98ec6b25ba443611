"""The pictures as server-sent events: previews while they are drawn, then each finished picture."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from app.api.openai.answers import check_completed, drawn_outputs, encoded, event_fields, size_text
from app.api.openai.errors import error_body
from app.api.openai.translation import Presentation
from app.api.schemas.openai import Usage
from app.api.security.authorization import revocation_check
from app.api.security.client_identity import client_id
from app.api.server.context import ApiContext
from app.api.server.deferred_response import in_this_request
from app.api.server.stream_listener import StreamListener
from app.core.addresses import network_of_client
from app.core.job import JobView
from app.errors import CyberImageError
from app.services.context import AppContext
from app.services.jobs.status import view
from app.services.media.reencode import reencoded
from app.store.queue.previews import Preview

PREVIEW_QUALITY = 90


class ImageEventEncoder:
    """Encodes the previews of one stream: at most as many as were asked for, spread over the steps. `kind` is
    `image_generation` or `image_edit`."""

    def __init__(self, kind: str, wanted: Presentation) -> None:
        self._kind = kind
        self._wanted = wanted
        self._sent = 0
        self._pictured = (0, 0)

    def encode(self, state: JobView, preview: Preview | None) -> Iterator[bytes]:
        if preview is not None and self._is_due(state, preview):
            self._pictured = (preview.attempt, preview.step)
            yield self._partial(state, preview)
            self._sent += 1

    def error_event(self, error: CyberImageError) -> bytes:
        return error_event(error)

    def keepalive(self) -> bytes:
        return b": still here\n"

    def _is_due(self, state: JobView, preview: Preview) -> bool:
        most, total = self._wanted.partial_images, max(state.job.progress.total_steps, 1)
        is_new = (preview.attempt, preview.step) > self._pictured
        return is_new and self._sent < most and preview.step / total >= self._sent / most

    def _partial(self, state: JobView, preview: Preview) -> bytes:
        request = state.job.request
        picture = reencoded(preview.webp, self._wanted.output_format, PREVIEW_QUALITY)
        size = f"{request.width}x{request.height}" if request.width and request.height else "auto"
        fields = event_fields(self._wanted, created_at=int(time.time()), size=size)
        data = {"b64_json": base64.b64encode(picture).decode(), "partial_image_index": self._sent}
        return _event(f"{self._kind}.partial_image", data | fields)


def listener_of(here: ApiContext, job_id: str, kind: str, wanted: Presentation, **more: Any) -> StreamListener:
    """The listener of a stream that ends with the pictures, or with the error."""
    last = in_this_request(partial(_last_events, here.context, job_id, kind, wanted))
    encoder = ImageEventEncoder(kind, wanted)
    client = network_of_client(client_id())
    return StreamListener(job_id, encoder, revocation_check(), client=client, last_message=last, **more)


def _last_events(
    context: AppContext, job_id: str, kind: str, wanted: Presentation, error: CyberImageError | None
) -> bytes:
    try:
        if error is not None:
            raise error
        return b"".join(_completed(context, view(context, job_id), kind, wanted))
    except CyberImageError as wrong:
        return error_event(wrong)


def _completed(context: AppContext, state: JobView, kind: str, wanted: Presentation) -> Iterator[bytes]:
    check_completed(state)
    for output in drawn_outputs(state):
        created = int(state.job.completed_at or state.job.created_at)
        fields = event_fields(wanted, created_at=created, size=size_text(output))
        data = {"b64_json": encoded(context, output, wanted), "usage": Usage.none().as_dict(), "seed": output.seed}
        warnings = [*wanted.warnings, *state.job.warnings]
        yield _event(f"{kind}.completed", data | fields | {"job_id": state.job.id, "warnings": warnings})


def error_event(error: CyberImageError) -> bytes:
    return _event("error", error_body(error))


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data}, ensure_ascii=False)}\n\n".encode()
