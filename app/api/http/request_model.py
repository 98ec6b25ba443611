"""The base of the models of queries, headers and forms: their JSON schema is made once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_schemas: dict[type[BaseModel], dict[str, Any]] = {}


class RequestModel(BaseModel):
    """flask-openapi3 reads the JSON schema of these models in every request, and pydantic makes it anew each time: that
    took two thirds of a `GET /api/status`."""

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """As BaseModel's. The one without options is shared: not to be changed."""
        if args or options:
            return super().model_json_schema(*args, **options)
        if cls not in _schemas:
            _schemas[cls] = super().model_json_schema()
        return _schemas[cls]
