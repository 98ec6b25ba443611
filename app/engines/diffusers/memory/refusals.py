"""Errors for models that fit under no memory plan: what is needed, what is there, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from app.core.catalog import ModelSpec
from app.core.memory_plan import Form, MemoryPlan, Room, choose, plans
from app.engines.diffusers.memory.memory import gigabytes
from app.errors import ModelUnavailable, NoRoom

if TYPE_CHECKING:
    from app.engines.diffusers.memory.planner import Planning

_OTHERWISE = "Choose a smaller model or a narrower dtype, or stop other programs that use that memory."


def impossible_wish(spec: ModelSpec, wish: str, forms: Sequence[Form]) -> ModelUnavailable:
    """The error for a placement that no form of the model can have."""
    possible = dict.fromkeys(placement for form in forms for placement in form.possible)
    return ModelUnavailable(
        f"{spec.id} cannot be offloaded as {wish!r} in {forms[0].label}. Set OFFLOAD (or the model's option offload) to"
        f" auto, or to one of {', '.join(possible)}."
    )


def no_room(spec: ModelSpec, planning: Planning, plan: MemoryPlan, room: Room, device: torch.device) -> NoRoom:
    """The error for `plan`, the closest one, that does not fit into `room`."""
    needed, free, where = plan.device.highest, room.device, str(device)
    if needed <= free:
        needed, free, where = plan.ram.highest, room.ram, "this machine (main memory, without swap)"
    return NoRoom(
        f"{spec.id} needs about {gigabytes(needed)} of memory on {where}, where {gigabytes(free)}"
        f" are free ({plan.label}). {' '.join([*_advice(planning, room), _OTHERWISE])}"
    )


def _advice(planning: Planning, room: Room) -> Iterator[str]:
    model, forms = planning.model, planning.forms
    if planning.wish != "auto" and choose(plans(model, forms.usable), room) is not None:
        yield "Set OFFLOAD=auto, under which it fits."
    if (found := choose(plans(model, forms.missing, planning.wish), room)) is not None:
        yield (
            f"In {found.form.label} it fits: install the package by pip install -r requirements-quantization.txt, and"
            " restart the worker."
        )
    half = replace(model, size=replace(model.size, width=model.size.width // 2, height=model.size.height // 2))
    if (found := choose(plans(half, forms.usable, planning.wish), room)) is not None:
        yield f"{half.size.width} × {half.size.height} fits: set a smaller default size in the model's options."
    fits_device = [one for one in planning.candidates if one.device.highest <= room.device]
    if fits_device:
        least = min(one.ram.highest for one in fits_device)
        yield f"With {gigabytes(least)} of free main memory it fits."
