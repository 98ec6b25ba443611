"""Lineage: the gallery pictures that a picture was made from, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.inputs import InputRef
from app.core.request import GenerationRequest
from app.core.tasks import TEXT_TASKS, VIDEO_TASKS


@dataclass(frozen=True)
class MadeFrom:
    """`how`: the task that used the picture `image_id` (img2img, inpaint, edit, img2video, upscale), `extend` for a
    picture that was extended, `rerun` for one that was generated again, or its role, such as `reference`."""

    image_id: str
    how: str


def made_from(request: GenerationRequest) -> Sequence[MadeFrom]:
    """The gallery pictures that the pictures of `request` are made from, each once. Masks are no source."""
    found: dict[str, str] = {}
    if request.rerun_of is not None:
        found[request.rerun_of.image_id] = "rerun"
    for picture in request.pictures:
        if picture.image_id is not None and picture.role != "mask":
            found.setdefault(picture.image_id, _how(picture, request))
    for image_id in (request.remote.pictures if request.remote is not None else None) or ():
        found.setdefault(image_id, _by_a_provider(request))
    return [MadeFrom(image_id, how) for image_id, how in found.items()]


def _how(picture: InputRef, request: GenerationRequest) -> str:
    if picture.extend is not None:
        return "extend"
    return request.task if picture.role == "image" else picture.role


def _by_a_provider(request: GenerationRequest) -> str:
    """What the provider's model does with a picture in its own input is not known exactly."""
    if request.task not in TEXT_TASKS:
        return request.task
    return "img2video" if request.task in VIDEO_TASKS else "img2img"
