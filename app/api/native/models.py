"""GET /api/models."""

from __future__ import annotations

from typing import Any

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.models import ModelsBody
from app.api.schemas.serializers import model_body
from app.api.server.context import app_context
from app.services.context import AppContext
from app.services.ops import stats

api = blueprint("models", "models")


@api.get("/api/models", access=Access.USER, budget="read", responses=responses({200: ModelsBody}))
def models() -> dict[str, Any]:
    """List the models and the rules for their settings"""
    return models_body(app_context())


def models_body(here: AppContext) -> dict[str, Any]:
    return {
        "default": here.catalog.default_id,
        "prompt_max_chars": here.settings.prompt_max_chars,
        "models": [model_body(state) for state in stats.models(here)],
    }
