"""Where the weights of a model wait while it draws on a GPU, chosen by what there is room for.

Pure: it knows sizes in bytes, not GPUs. The plans, from fast to small:

    none        all weights are on the GPU
    model       each part (text encoders, denoiser, VAE) comes to the GPU for its turn
    group       of the denoiser two blocks at a time, of everything else a layer
    sequential  a layer at a time, of everything
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Plan = Literal["none", "model", "group", "sequential"]
Offload = Literal["auto", "none", "model", "group", "sequential"]

PLANS: tuple[Plan, ...] = get_args(Plan)
_MARGIN = 1.05  # buffers, alignment and parts that stay in a wider precision
_LEAST_WORKING_BYTES = 1_000_000_000  # of a GPU: kernels' workspaces, the denoiser's activations
_NUMBERS_PER_PIXEL = 1024  # the VAE at full size: about four tensors of 256 channels live at once


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of the weights that must be on the GPU at the same time under each plan. `all` leaves out what is there
    already, as part of another model."""

    all: int
    largest_part: int
    largest_group: int
    largest_layer: int


def working_bytes(width: int, height: int, item_bytes: int) -> int:
    """What drawing a picture of this size takes beside the weights, roughly, when numbers take `item_bytes`."""
    return max(_LEAST_WORKING_BYTES, width * height * _NUMBERS_PER_PIXEL * item_bytes)


def needs(sizes: WeightSizes, working: int) -> dict[Plan, int]:
    """What the GPU must have free under each plan: weights with a margin, and `working` bytes."""
    weights = (sizes.all, sizes.largest_part, sizes.largest_group, sizes.largest_layer)
    return {plan: int(size * _MARGIN) + working for plan, size in zip(PLANS, weights, strict=True)}


def choose_plan(wish: Offload, needed: Mapping[Plan, int], free: int, possible: Collection[Plan] = PLANS) -> Plan:
    """`wish` itself, or for `auto` the fastest of the `possible` plans for which `free` bytes suffice.

    When none suffices it is the smallest: whether to try is the caller's decision. What is wished for and not possible
    is replaced by the next smaller one that is, if there is one.
    """
    allowed = [plan for plan in PLANS if plan in possible]
    if wish == "auto":
        fitting = (plan for plan in allowed if needed[plan] <= free)
    else:
        fitting = (plan for plan in allowed if PLANS.index(plan) >= PLANS.index(wish))
    return next(fitting, allowed[-1])
