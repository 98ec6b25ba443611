"""LoRAs in the words of the versioned API. Loading and unloading needs an administrator unless AUTH_MODE
is none."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.loras import LoraBody, LorasBody
from app.api.schemas.v1 import LoraLoaded, LoraUnloaded
from app.api.server.context import app_context
from app.core.json_values import Body
from app.errors import InvalidRequest, LoraUnavailable
from app.services.models import loras as service

api = blueprint("v1_loras", "v1")


class LoraLoadBody(Body):
    lora_path: str = Field(min_length=1, max_length=300, description="A file of LORAS_DIR, or a repo of the hub.")
    name: str | None = Field(default=None, description="What requests may call it from now on, as their `lora_path`.")


class LoraUnloadBody(Body):
    name: str | None = Field(default=None, min_length=1, max_length=300, description="As it was given by `load`.")
    lora_path: str | None = Field(default=None, min_length=1, max_length=300, description="The same as `name`.")

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
    responses=responses({200: LoraLoaded}, InvalidRequest, LoraUnavailable),
    description="Also `/v1/loras/load`. Checks the file and gives it a name, if you like. A worker takes it into memory"
    " with the first job that asks for it; one of the hub is fetched then too, and the status is `will_be_fetched`.",
)
def v1_load_lora(body: LoraLoadBody) -> LoraLoaded:
    """Make a LoRA ready for requests"""
    known = service.load(app_context(), body.lora_path, body.name)
    return LoraLoaded(status="loaded" if known.available else "will_be_fetched", lora=LoraBody.of(known))


@api.post(
    "/api/v1/loras/unload",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: LoraUnloaded}, InvalidRequest),
    description="Also `/v1/loras/unload`. The file stays, and so do jobs that were accepted with it.",
)
def v1_unload_lora(body: LoraUnloadBody) -> LoraUnloaded:
    """Forget the name of a LoRA"""
    name = body.name or body.lora_path or ""
    return LoraUnloaded(status="unloaded" if service.unload(app_context(), name) else "not_loaded", name=name)
