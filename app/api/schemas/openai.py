"""OpenAI's image API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, cast

from pydantic import ConfigDict, Field

from app.core.job import JobView
from app.core.picture_formats import PictureFormat
from app.core.response_body import ResponseBody

_EVENTS: dict[str, Any] = {"openapi_extra": {"content": {"text/event-stream": {"schema": {}}}}}
_ANY: dict[str, Any] = {"openapi_extra": {"description": "Any other error"}}


class Usage(ResponseBody):
    """Nothing is counted in tokens here, and nothing is billed by them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: dict[str, int]

    @classmethod
    def none(cls) -> Self:
        details = {"text_tokens": 0, "image_tokens": 0}
        return cls.read(input_tokens=0, output_tokens=0, total_tokens=0, input_tokens_details=details)


class DrawnImage(ResponseBody):
    """What `response_format` asks for; without it both."""

    b64_json: str | None
    url: str | None
    seed: int | None = Field(description="Not OpenAI's. Null of a provider's model that was sent none.")


class ImagesAnswer(ResponseBody):
    model_config = cast(ConfigDict, _EVENTS)

    created: int
    data: list[DrawnImage]
    background: Literal["opaque"]
    output_format: PictureFormat
    quality: str
    size: str = Field(description="As drawn.")
    usage: Usage = Field(description="Zeros: nothing is counted in tokens here.")
    safety_identifier: str | None
    job_id: str = Field(description="Not OpenAI's: of `GET /api/status/<job_id>`.")
    warnings: list[str] = Field(description="Not OpenAI's: notes on fields that were changed or not used.")

    @classmethod
    def of(cls, view: JobView, data: Sequence[DrawnImage], *warnings: str, **presented: Any) -> Self:
        """A COMPLETED job. `presented` are the members about how its pictures are presented."""
        return cls.read(
            created=int(view.job.completed_at or view.job.created_at),
            data=list(data),
            background="opaque",
            usage=Usage.none(),
            job_id=view.job.id,
            warnings=[*warnings, *view.job.warnings],
            **presented,
        )


class OpenAIErrorDetails(ResponseBody):
    message: str = Field(description="What is wrong and what to do about it.")
    type: str = Field(description="invalid_request_error, rate_limit_error or server_error.")
    param: str | None = Field(description="The field that is wrong.")
    code: str = Field(description="OpenAI's where it has one, such as `model_not_found`, else ours.")


class OpenAIError(ResponseBody):
    """An error in OpenAI's shape."""

    model_config = cast(ConfigDict, _ANY)

    error: OpenAIErrorDetails
