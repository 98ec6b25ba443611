"""Load and unload models while the server runs. Needs an administrator unless AUTH_MODE is none."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.http.openapi import blueprint, responses
from app.api.http.problems import problem
from app.api.routing import Access
from app.api.schemas.v1 import ModelLoaded, ModelsUnloaded
from app.api.server.context import ApiContext, api_context
from app.api.v1.bodies import Timeout
from app.api.v1.waiting import has_given_up, patience
from app.core.json_values import Body
from app.errors import (
    InvalidRequest,
    LoadCancelled,
    ModelRequiresAuth,
    ModelUnavailable,
    NoSuchModel,
    NoWorker,
    OutOfMemory,
    UnknownModel,
    WorkerDied,
)
from app.services.ops.model_loading import ModelLoading

api = blueprint("v1_model_orders", "v1", "v1")


class UnloadBody(Body):
    model_id: str | None = Field(default=None, description="Absent = every model in memory.")
    timeout: Timeout = None


class LoadBody(UnloadBody):
    model_id: str = Field(description="Of `GET /api/v1/models`.")


@api.post(
    "/api/v1/models/load",
    access=Access.ADMIN,
    budget="read",
    responses=responses(
        {200: ModelLoaded, 202: ModelLoaded},
        LoadCancelled,
        InvalidRequest,
        NoSuchModel,
        ModelRequiresAuth,
        ModelUnavailable,
        NoWorker,
        WorkerDied,
        OutOfMemory,
    ),
    description="Also `/v1/models/load`. One worker loads it between two jobs, downloading it first if need be; no"
    " running job is touched. Past `timeout` the answer is 202 and loading goes on: `downloading` in the list of"
    " models tells how far, and `loaded` turns true. Unloading the model calls it off (409 `load_called_off`).",
)
def v1_load_model(body: LoadBody) -> tuple[ModelLoaded, int] | Response:
    """Load a model into memory"""
    here = api_context()
    try:
        with patience(here, body.timeout) as seconds:
            loaded = _orders(here).load(body.model_id, seconds)
    except UnknownModel as error:
        return problem(error, NoSuchModel.status)
    return ModelLoaded.read(loaded), 202 if loaded.status == "loading" else 200


@api.post(
    "/api/v1/models/unload",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: ModelsUnloaded, 202: ModelsUnloaded}, InvalidRequest, NoSuchModel, NoWorker),
    description="Also `/v1/models/unload`. Every worker that holds the model frees its memory when its running job has"
    " ended, and a worker that is loading it stops. A job that asks for the model loads it again.",
)
def v1_unload_model(body: UnloadBody) -> tuple[ModelsUnloaded, int] | Response:
    """Free the memory of a model, or of all"""
    here = api_context()
    try:
        with patience(here, body.timeout) as seconds:
            unloaded = _orders(here).unload(body.model_id, seconds)
    except UnknownModel as error:
        return problem(error, NoSuchModel.status)
    return ModelsUnloaded.read(unloaded), 202 if unloaded.status == "unloading" else 200


def _orders(here: ApiContext) -> ModelLoading:
    return ModelLoading(here.context, here.notifier, has_given_up(here))
