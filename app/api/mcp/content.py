"""Results of tools: a sentence for the assistant, the picture in small, a link to it in full, and all of it as data."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.api.http.absolute_urls import picture_url
from app.api.schemas.mcp import Address, GenerationResult
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.core.response_body import ResponseBody
from app.services.context import AppContext
from app.services.media.reencode import small_webp

MOST_PICTURE_BYTES = 700_000  # of all pictures of a result; programs that use tools cut results at about 1 MB of text

Result = dict[str, Any]


def addresses(context: AppContext) -> Address:
    return partial(picture_url, context)


def generation_result(context: AppContext, view: JobView) -> Result:
    """A job as it stands; with its pictures when it is COMPLETED."""
    body = GenerationResult.of(view, addresses(context))
    content = [text(sentence(body)), *pictures(context, view.outputs), *links(context, view.outputs, body.prompt)]
    return structured(body, content)


def structured(body: ResponseBody, content: Sequence[Mapping[str, Any]] | None = None) -> Result:
    """A result with `body` as data; its text is the data too, unless there is other `content`."""
    data = body.model_dump(mode="json", warnings=False)
    shown = [text(json.dumps(data, ensure_ascii=False))] if content is None else list(content)
    return {"content": shown, "structuredContent": data}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def pictures(context: AppContext, outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """As WebP, within MOST_PICTURE_BYTES together. Of a video its poster."""
    share = MOST_PICTURE_BYTES // max(len(outputs), 1)
    made = (small_webp(context, output, share) for output in outputs)
    return [{"type": "image", "data": base64.b64encode(one).decode(), "mimeType": "image/webp"} for one in made]


def links(context: AppContext, outputs: Sequence[Output], prompt: str) -> list[dict[str, Any]]:
    """To the files in full."""
    return [
        {
            "type": "resource_link",
            "uri": picture_url(context, output),
            "name": f"cyberimage-{output.id[:8]}.{output.mime_type.rpartition('/')[2]}",
            "description": prompt[:200],
            "mimeType": output.mime_type,
            "size": output.bytes,
        }
        for output in outputs
    ]


def sentence(body: GenerationResult) -> str:
    """What to know and to do about a generation."""
    lines = [_state(body), *(f"Note: {warning}" for warning in body.warnings)]
    lines += [
        f"{one.media} {one.image_id}: {one.width}x{one.height}, seed {one.seed}, {one.url}" for one in body.images
    ]
    return "\n".join(lines)


def _state(body: GenerationResult) -> str:
    job = f"Job {body.job_id} of {body.model_id}"
    if body.status is JobStatus.COMPLETED:
        return f"{job} is COMPLETED. Give the user the link below each picture; image_id names it for edit_image."
    if body.status is JobStatus.FAILED and body.error is not None:
        return f"{job} FAILED: {body.error.message} (code: {body.error.code})"
    if body.status is JobStatus.CANCELLED:
        return f"{job} was CANCELLED."
    wait = "" if body.eta_seconds is None else f", about {body.eta_seconds:.0f} seconds left"
    place = f", place {body.position} in the queue" if body.position is not None else f", {body.percent} % done"
    return f"{job} is {body.status}{place}{wait}. It goes on; ask get_generation for it with wait_seconds."
