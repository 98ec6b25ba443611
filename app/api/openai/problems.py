"""The documentation of the answers of OpenAI's interface."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ConfigDict, Field

from app.core.response_body import ResponseBody


class OpenAIErrorDetails(ResponseBody):
    message: str = Field(description="What is wrong and what to do about it.")
    type: str = Field(description="invalid_request_error, rate_limit_error or server_error.")
    param: str | None = Field(description="The field that is wrong.")
    code: str = Field(description="OpenAI's where it has one, such as `model_not_found`, else ours.")


class OpenAIError(ResponseBody):
    """An error in OpenAI's shape."""

    model_config = cast(ConfigDict, {"openapi_extra": {"description": "Any error, in OpenAI's shape."}})

    error: OpenAIErrorDetails


def openai_responses(good: type[ResponseBody]) -> dict[Any, Any]:
    """Of a route: `good`, or an error."""
    return {200: good, "default": OpenAIError}
