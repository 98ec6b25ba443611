"""The models, also in the shape in which OpenAI lists them."""

from __future__ import annotations

from typing import Any

from app.api.http.openapi import blueprint, responses
from app.api.native.models import models_body
from app.api.routing import Access
from app.api.schemas.v1 import ModelList
from app.api.server.context import api_context

api = blueprint("v1_models", "v1")


@api.get(
    "/api/v1/models",
    access=Access.USER,
    budget="read",
    responses=responses({200: ModelList}),
    description="Also `/v1/models`. What `/api/models` answers, and besides it OpenAI's `object` and `data`.",
)
def v1_models() -> dict[str, Any]:
    """The models"""
    here = api_context()
    body = models_body(here.context)
    return {"object": "list", "data": [_listed(model, int(here.started_at)) for model in body["models"]], **body}


def _listed(model: dict[str, Any], created: int) -> dict[str, Any]:
    """`created` is required there and means nothing here: since when this server offers the model."""
    owner = model["repo"].partition("/")[0] if model["source"] != "local" else "local"
    return {"id": model["id"], "object": "model", "created": created, "owned_by": owner}
