"""GET models/{id}. The list of models is the versioned API's."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.api.http.openapi import blueprint
from app.api.openai.errors import answers
from app.api.routing import Access
from app.api.schemas.v1 import ListedModel
from app.api.server.context import api_context
from app.errors import UnknownModel

api = blueprint("openai_models", "OpenAI images", "openai")


class ModelPath(BaseModel):
    model_id: str = Field(description="Of `GET /v1/models`, or another name of it.", max_length=200)


@api.get(
    "/api/openai/v1/models/<path:model_id>",
    access=Access.USER,
    budget="read",
    responses=answers(ListedModel, UnknownModel),
    description="Also `/v1/models/<model_id>`.",
)
def openai_model(path: ModelPath) -> ListedModel:
    """Get a model, as OpenAI's API"""
    here = api_context()
    return ListedModel.of(here.context.catalog.get(path.model_id), int(here.started_at))
