"""The models of the catalogue, and removing what was downloaded of one."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from app.api.http.openapi import blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.schemas.models import FilesRemoved, ModelsBody
from app.api.server.context import app_context
from app.errors import Conflict, InvalidRequest, NoSuchModel, UnknownModel
from app.services.models import model_files
from app.services.ops import stats

api = blueprint("models", "models")


class ModelPath(RequestModel):
    model_config = ConfigDict(extra="forbid")

    model_id: str = Field(description="Of `GET /api/models`.", max_length=200)


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


@api.delete(
    "/api/models/<path:model_id>/files",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: FilesRemoved}, InvalidRequest, NoSuchModel, Conflict),
    description="Of a model of the hub: what was downloaded of it, in all versions. Other models that are made of the"
    " same repository lose it, too, and with `HF_HOME` set other programs that share that cache. What a worker holds in"
    " memory stays there until it is unloaded.",
)
def remove_model_files(path: ModelPath) -> FilesRemoved:
    """Delete the downloaded files of a model"""
    context = app_context()
    try:
        spec = context.catalog.get(path.model_id)
    except UnknownModel as error:
        raise NoSuchModel(error.detail) from None
    return FilesRemoved(model_id=spec.id, freed_bytes=model_files.remove(context, spec))
