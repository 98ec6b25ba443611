"""GET /api/models."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.models import ModelsBody
from app.api.server.context import app_context
from app.services.ops import stats

api = blueprint("models", "models")


@api.get("/api/models", access=Access.USER, budget="read", responses=responses({200: ModelsBody}))
def models() -> ModelsBody:
    """List the models and the rules for their settings"""
    here = app_context()
    return ModelsBody.of(
        stats.models(here),
        stats.auxiliary_models(here),
        default_id=here.catalog.default_id,
        prompt_max_chars=here.settings.prompt_max_chars,
    )
