"""What there is: models, samplers, LoRAs, and lists that are empty here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from app.api.a1111.errors import NULL, answers, array_of
from app.api.a1111.samplers import SAMPLERS, SCHEDULES
from app.api.http.openapi import blueprint
from app.api.routing import Access
from app.api.schemas.a1111 import (
    CommandFlags,
    Embeddings,
    Memory,
    Named,
    NamedLora,
    NoiseSchedule,
    Sampler,
    Scripts,
    SdModel,
    Upscaler,
)
from app.api.server.context import api_context, app_context
from app.core.embeddings import EmbeddingFile
from app.core.latent_modes import LATENT_MODES
from app.services.models import embeddings, loras

api = blueprint("a1111_lists", "AUTOMATIC1111", "a1111")

_EMPTY = ("hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "sd-vae")
_REFRESHED = ("refresh-checkpoints", "refresh-loras", "refresh-vae")


@api.get("/sdapi/v1/sd-models", access=Access.USER, budget="read", responses=answers(array_of(SdModel)))
def a1111_models() -> list[SdModel]:
    """List the models, as AUTOMATIC1111"""
    return [SdModel.of(spec) for spec in app_context().catalog if spec.media == "image"]


@api.get("/sdapi/v1/samplers", access=Access.USER, budget="read", responses=answers(array_of(Sampler)))
def a1111_samplers() -> list[Sampler]:
    """List the samplers, as AUTOMATIC1111"""
    return [Sampler.read(name=name, aliases=[], options={}) for name in SAMPLERS]


@api.get("/sdapi/v1/schedulers", access=Access.USER, budget="read", responses=answers(array_of(NoiseSchedule)))
def a1111_schedules() -> list[NoiseSchedule]:
    """List the noise schedules, as AUTOMATIC1111"""
    rest = {"aliases": None, "default_rho": -1.0, "need_inner_model": False}
    return [NoiseSchedule.read(name=name, label=label, **rest) for name, label in SCHEDULES]


@api.get("/sdapi/v1/upscalers", access=Access.USER, budget="read", responses=answers(array_of(Upscaler)))
def a1111_upscalers() -> list[Upscaler]:
    """List the upscalers, as AUTOMATIC1111"""
    names = ["None", *(spec.id for spec in app_context().catalog.upscalers)]
    return [Upscaler.read(name=name, model_name=None, model_path=None, model_url=None, scale=4.0) for name in names]


@api.get("/sdapi/v1/latent-upscale-modes", access=Access.USER, budget="read", responses=answers(array_of(Named)))
def a1111_latent_upscale_modes() -> list[Named]:
    """List the ways to enlarge latents, as AUTOMATIC1111"""
    return [Named(name=name) for name in LATENT_MODES]


@api.get("/sdapi/v1/loras", access=Access.USER, budget="read", responses=answers(array_of(NamedLora)))
def a1111_loras() -> list[NamedLora]:
    """List the LoRAs, as AUTOMATIC1111"""
    known = (one for one in loras.listing(app_context()) if one.problem is None)
    return [NamedLora.read(name=one.id, alias=one.id, path=one.stands_for or one.id, metadata={}) for one in known]


@api.get("/sdapi/v1/embeddings", access=Access.USER, budget="read", responses=answers(Embeddings))
def a1111_embeddings() -> Embeddings:
    """List the embeddings, as AUTOMATIC1111"""
    found = embeddings.listing(app_context())
    loaded = {one.id: _embedding(one.file) for one in found if one.file is not None}
    return Embeddings(loaded=loaded, skipped={one.id: {} for one in found if one.file is None})


@api.get("/sdapi/v1/scripts", access=Access.USER, budget="read", responses=answers(Scripts))
def a1111_scripts() -> Scripts:
    """List the scripts, as AUTOMATIC1111: none"""
    return Scripts(txt2img=[], img2img=[])


@api.get("/sdapi/v1/cmd-flags", access=Access.USER, budget="read", responses=answers(CommandFlags))
def a1111_flags() -> CommandFlags:
    """Get the command line's flags, as AUTOMATIC1111"""
    return CommandFlags(api=True)


@api.get("/sdapi/v1/memory", access=Access.USER, budget="read", polled=True, responses=answers(Memory))
def a1111_memory() -> Memory:
    """Get the use of memory, as AUTOMATIC1111"""
    now = api_context().machine.read()
    ram = {"free": now.available_bytes, "used": now.memory_bytes - now.available_bytes, "total": now.memory_bytes}
    if not now.gpus:
        return Memory(ram=ram, cuda={"error": "no GPU was found"})
    gpu = now.gpus[0]
    system = {"free": gpu.memory_bytes - gpu.used_bytes, "used": gpu.used_bytes, "total": gpu.memory_bytes}
    return Memory(ram=ram, cuda={"system": system})


def _embedding(file: EmbeddingFile) -> dict[str, Any]:
    shape = sum(file.widths.values())
    return {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": shape, "vectors": file.vectors}


def _empty() -> list[Named]:
    return []


def _refresh() -> tuple[str, int, dict[str, str]]:
    return "null", 200, {"Content-Type": "application/json"}


def _copy(view: Callable[..., Any], list_name: str) -> Callable[..., Any]:
    """`view` under a name of its own, which becomes the operation's id: clients are generated by it."""

    @wraps(view)
    def copied() -> Any:
        return view()

    copied.__name__ = f"a1111_{list_name.replace('-', '_')}"
    return copied


for _name in _EMPTY:
    api.get(
        f"/sdapi/v1/{_name}",
        access=Access.USER,
        budget="read",
        responses=answers(array_of(Named)),
        summary=f"List {_name.replace('-', ' ')}, as AUTOMATIC1111: none",
    )(_copy(_empty, _name))
for _name in _REFRESHED:
    api.post(
        f"/sdapi/v1/{_name}",
        access=Access.USER,
        budget="read",
        raw_body=True,
        responses=answers(NULL),
        summary="Read a list anew, as AUTOMATIC1111: lists are always current here",
    )(_copy(_refresh, _name))
