"""The models, also in the shape in which OpenAI lists them."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.v1 import ListedModel, ModelList
from app.api.server.context import api_context
from app.services.ops import stats

api = blueprint("v1_models", "v1", "v1")


@api.get(
    "/api/v1/models",
    access=Access.USER,
    budget="read",
    responses=responses({200: ModelList}),
    description="Also `/v1/models`. What `/api/models` answers, and besides it OpenAI's `object` and `data`.",
)
def v1_models() -> ModelList:
    """The models"""
    here = api_context()
    states, created = stats.models(here.context), int(here.started_at)
    return ModelList.of(
        states,
        stats.auxiliary_models(here.context),
        default_id=here.context.catalog.default_id,
        prompt_max_chars=here.context.settings.prompt_max_chars,
        object="list",
        data=[ListedModel.of(state.spec, created) for state in states],
    )
