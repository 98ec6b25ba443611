"""LoRAs in the words of the versioned API. Loading and unloading needs an administrator unless AUTH_MODE
is none."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.loras import LoraBody, LorasBody
from app.api.schemas.v1 import LoraLoaded, LoraUnloaded
from app.api.server.context import ApiContext, api_context, app_context
from app.api.v1.bodies import Timeout
from app.api.v1.waiting import has_given_up, patience
from app.core.json_values import Body
from app.errors import (
    GenerationError,
    InvalidRequest,
    LoraUnavailable,
    ModelRequiresAuth,
    ModelUnavailable,
    OutOfMemory,
)
from app.services.models import loras as service
from app.services.ops.lora_loading import LoraLoading

api = blueprint("v1_loras", "v1", "v1")


class LoraLoadBody(Body):
    lora_path: str = Field(min_length=1, max_length=300, description="A file of LORAS_DIR, or a repo of the hub.")
    name: str | None = Field(default=None, description="What requests may call it from now on, as their `lora_path`.")
    timeout: Timeout = None


class LoraUnloadBody(Body):
    name: str | None = Field(default=None, min_length=1, max_length=300, description="As it was given by `load`.")
    lora_path: str | None = Field(default=None, min_length=1, max_length=300, description="The same as `name`.")
    timeout: Timeout = None

    @model_validator(mode="after")
    def _which(self) -> Self:
        if (self.name is None) == (self.lora_path is None):
            raise ValueError("say which by either name or lora_path")
        return self


@api.get(
    "/api/v1/loras",
    access=Access.USER,
    budget="read",
    responses=responses({200: LorasBody}),
    description="Also `/api/v1/loras/list`, and both under `/v1`. What `/api/loras` answers.",
)
def v1_loras() -> LorasBody:
    """The LoRAs"""
    return LorasBody.of(service.listing(app_context()))


@api.post(
    "/api/v1/loras/load",
    access=Access.ADMIN,
    budget="read",
    responses=responses(
        {200: LoraLoaded},
        InvalidRequest,
        LoraUnavailable,
        ModelRequiresAuth,
        ModelUnavailable,
        OutOfMemory,
        GenerationError,
    ),
    description="Also `/v1/loras/load`. Checks the file and gives it a name, if you like; names are taken in any case."
    " Each worker that holds a model that it fits takes it into memory between two jobs, fetching it from the hub"
    " first if need be. Without such a worker the first job that asks for it does.",
)
def v1_load_lora(body: LoraLoadBody) -> LoraLoaded:
    """Make a LoRA ready for requests"""
    here = api_context()
    with patience(here, body.timeout) as seconds:
        loaded = _loading(here).load_lora(body.lora_path, body.name, seconds)
    return LoraLoaded.read(loaded, lora=LoraBody.of(loaded.lora), models=list(loaded.models))


@api.post(
    "/api/v1/loras/unload",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: LoraUnloaded}, InvalidRequest),
    description="Also `/v1/loras/unload`. Every worker that holds it frees it after its running job; the name is"
    " forgotten. The file stays, and so do jobs that were accepted with it.",
)
def v1_unload_lora(body: LoraUnloadBody) -> LoraUnloaded:
    """Free the memory of a LoRA, and forget its name"""
    here, name = api_context(), body.name or body.lora_path or ""
    with patience(here, body.timeout) as seconds:
        unloaded = _loading(here).unload_lora(name, seconds)
    return LoraUnloaded.read(unloaded, name=name, models=list(unloaded.models))


def _loading(here: ApiContext) -> LoraLoading:
    return LoraLoading(here.context, here.notifier, has_given_up(here))
