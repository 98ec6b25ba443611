"""A job that has ended as OpenAI's answer."""

from __future__ import annotations

import base64
from typing import Any

from flask import after_this_request
from flask.wrappers import Response

from app.api.http.absolute_urls import picture_url
from app.api.openai.translation import Presentation
from app.api.schemas.openai import DrawnImage, ImagesAnswer
from app.api.v1.waiting import raise_what_went_wrong
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.errors import ImageNotFound, StillRunning
from app.services.context import AppContext
from app.services.media.reencode import picture_bytes
from app.services.urls import url

SIZE_HEADER = "X-Image-Size"
RETRY_SECONDS = 1


def answer(context: AppContext, wanted: Presentation, view: JobView) -> ImagesAnswer:
    """Raises the job's own error, and StillRunning while it runs."""
    check_completed(view)
    by_url, outputs = wanted.response_format == "url", drawn_outputs(view)
    made = ImagesAnswer.of(
        view,
        [_drawn(context, output, wanted) for output in outputs],
        *wanted.warnings,
        output_format="png" if by_url else wanted.output_format,
        quality=wanted.quality,
        size=size_text(outputs[0]),
        safety_identifier=wanted.safety_identifier,
    )
    after_this_request(_with_size(made.size))
    return made


def check_completed(view: JobView) -> None:
    """Raises the error of a job that failed, and StillRunning for one that runs."""
    raise_what_went_wrong(view)
    if view.job.status is not JobStatus.COMPLETED:
        message = "The picture is not ready yet, and the job goes on: send the same request again to wait on, or ask"
        raise StillRunning(f"{message} at {url(f'/api/status/{view.job.id}')}.", retry_after=RETRY_SECONDS)


def drawn_outputs(view: JobView) -> list[Output]:
    """The pictures of a COMPLETED job. Raises ImageNotFound without any."""
    if not view.outputs:
        raise ImageNotFound("The pictures were deleted before they could be sent.")
    return list(view.outputs)


def encoded(context: AppContext, output: Output, wanted: Presentation) -> str:
    """The picture in the wanted format, in base64."""
    return base64.b64encode(picture_bytes(context, output, wanted.output_format, max(wanted.compression, 1))).decode()


def size_text(output: Output) -> str:
    return f"{output.width}x{output.height}"


def event_fields(wanted: Presentation, *, created_at: int, size: str) -> dict[str, Any]:
    """What all events of a stream have."""
    about = {"created_at": created_at, "size": size, "quality": wanted.quality, "background": "opaque"}
    return {**about, "output_format": wanted.output_format, "safety_identifier": wanted.safety_identifier}


def _drawn(context: AppContext, output: Output, wanted: Presentation) -> DrawnImage:
    return DrawnImage.read(
        b64_json=None if wanted.response_format == "url" else encoded(context, output, wanted),
        url=None if wanted.response_format == "b64_json" else picture_url(context, output),
        seed=output.seed,
    )


def _with_size(size: str) -> Any:
    def add(response: Response) -> Response:
        response.headers[SIZE_HEADER] = size
        return response

    return add
