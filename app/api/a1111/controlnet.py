"""ControlNet of AUTOMATIC1111's extension: its units in a request, and the routes by which its clients look around."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from app.api.a1111.bodies import Open
from app.api.a1111.errors import answers
from app.api.http.openapi import blueprint
from app.api.routing import Access
from app.api.schemas.a1111 import ControlModels, ControlModules, ControlVersion, Detected
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.core.catalog import Catalog, ModelSpec
from app.core.control_inputs import MOST_CONTROLS
from app.errors import FieldError, InvalidImage, InvalidRequest, Unavailable
from app.services.media.preprocess import preprocessed
from app.services.models import auxiliaries
from app.services.models.auxiliaries import processors_of

api = blueprint("a1111_controlnet", "AUTOMATIC1111", "a1111")

_VERSION = 3  # of the extension's interface
_HASH = re.compile(r"\[[0-9a-f]{1,64}\]")
_LONGEST_NAME = 300
_MOST_UNITS = 10
_MOST_NOTES = 20
_PROCESSORS: Mapping[str, str] = {  # the extension's modules by the beginnings of their names
    "": "none",
    "none": "none",
    "canny": "canny",
    "tile": "tile",
    "depth": "depth",
    "lineart": "lineart",
    "openpose": "pose",
    "dw_openpose": "pose",
    "pose": "pose",
    "seg": "seg",
}
_ASK_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "resize_mode": (0, 1, "Just Resize", "Resize and Fill", "Crop and Resize"),
    "control_mode": (0, "Balanced"),
    "low_vram": (False, True),
    "pixel_perfect": (False, True),
    "processor_res": (-1, 64, 512),
    "threshold_a": (-1, 64, 100),
    "threshold_b": (-1, 64, 200),
    "save_detected_map": (False, True),
    "hr_option": ("Both",),
}
_READ = frozenset({"enabled", "image", "input_image", "module", "model", "weight", "guidance_start", "guidance_end"})


def control_inputs(scripts: Any, catalog: Catalog, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The control pictures and references in `alwayson_scripts`. What cannot be used is noted."""
    script = _script(scripts)
    units = script.get("args") if isinstance(script, dict) else script
    units, own = units if isinstance(units, list) else [], list[str]()
    for number, unit in enumerate(units[:_MOST_UNITS], start=1):
        if isinstance(unit, dict) and unit.get("enabled", True):
            yield from _input(f"controlnet unit {number}", unit, catalog, own)
    if len(units) > _MOST_UNITS:
        own.insert(0, f"controlnet: only the first {_MOST_UNITS} units were read.")
    notes += own[:_MOST_NOTES]


def is_controlnet(name: str) -> bool:
    return name.casefold() == "controlnet"


def _script(scripts: Any) -> Any:
    named = scripts.items() if isinstance(scripts, dict) else ()
    return next((script for name, script in named if is_controlnet(str(name))), None)


def _input(what: str, unit: Mapping[str, Any], catalog: Catalog, notes: list[str]) -> Iterator[dict[str, Any]]:
    source, spec = _source(unit), _model(unit, catalog)
    module = str(unit.get("module") or "none").casefold()
    if source is None or spec is None:
        missing = "it has no image" if source is None else f"there is no model {str(unit.get('model'))[:60]!r} here"
        notes.append(f"{what} was not used: {missing}.")
        return
    reference = spec.options.kind != "controlnet"
    processor = _processor(module)
    if processor is None and not reference:
        notes.append(f"{what} was not used: there is no module {module[:60]!r} here.")
        return
    for name, value in unit.items():
        if name not in _READ and value not in (None, "", [], *_ASK_NOTHING.get(name, ())):
            notes.append(f"{what}: {name[:60]} was not used.")
    found: dict[str, Any] = {"role": "reference" if reference else "control", "source": source, "model": spec.id}
    found["weight"] = unit.get("weight")
    if not reference:
        found |= {"start": unit.get("guidance_start"), "end": unit.get("guidance_end"), "processor": processor}
    yield {name: value for name, value in found.items() if value is not None}


def _source(unit: Mapping[str, Any]) -> str | None:
    """The unit's picture: text, or an object with the members image and mask."""
    found = unit.get("image") or unit.get("input_image")
    found = found.get("image") if isinstance(found, dict) else found
    return found if isinstance(found, str) and found else None


def _model(unit: Mapping[str, Any], catalog: Catalog) -> ModelSpec | None:
    """The ControlNet or adapter; the extension writes a hash behind its name."""
    name = unit.get("model")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return None
    start, _, end = name.strip().rpartition(" ")
    return catalog.auxiliary(start.rstrip() if _HASH.fullmatch(end) else name)


def _processor(module: str) -> str | None:
    known = (name for start, name in _PROCESSORS.items() if start and module.startswith(start))
    return next(known, "none" if not module else None)


class DetectBody(Open):
    controlnet_module: str = Field(default="none", max_length=100)
    controlnet_images: list[str] = Field(default_factory=list, description=f"At most {MOST_CONTROLS}.")


@api.get("/controlnet/version", access=Access.USER, budget="read", responses=answers(ControlVersion))
def controlnet_version() -> ControlVersion:
    """Get the version of ControlNet's interface, as AUTOMATIC1111"""
    return ControlVersion(version=_VERSION)


@api.get("/controlnet/model_list", access=Access.USER, budget="read", responses=answers(ControlModels))
def controlnet_models() -> ControlModels:
    """List the ControlNets and adapters, as AUTOMATIC1111"""
    known = auxiliaries.listing(app_context())
    return ControlModels(model_list=[each.spec.id for each in known if each.kind != "detector"])


@api.get("/controlnet/module_list", access=Access.USER, budget="read", responses=answers(ControlModules))
def controlnet_modules() -> ControlModules:
    """List the preprocessors, as AUTOMATIC1111"""
    return ControlModules(module_list=processors_of(auxiliaries.listing(app_context())))


@api.post(
    "/controlnet/detect",
    access=Access.USER,
    budget="generate",
    accepts_files=True,
    responses=answers(Detected, InvalidRequest, InvalidImage, Unavailable),
)
def controlnet_detect(body: DetectBody) -> Detected:
    """Show what a preprocessor makes of pictures, as AUTOMATIC1111"""
    processor = _processor(body.controlnet_module.casefold())
    if processor is None:
        message = f"there is no module {body.controlnet_module[:60]!r} here"
        raise InvalidRequest(f"{message}.", errors=[FieldError("controlnet_module", message)])
    if len(body.controlnet_images) > MOST_CONTROLS:  # not in the schema: empty parts of a form do not count
        message = f"has {len(body.controlnet_images)} pictures; at most {MOST_CONTROLS} are allowed"
        raise InvalidRequest(f"controlnet_images {message}.", errors=[FieldError("controlnet_images", message)])
    here, client = app_context(), client_id()
    made = [preprocessed(here, picture, processor, client_id=client) for picture in body.controlnet_images]
    return Detected(images=[base64.b64encode(png).decode() for png in made], info="Success")
