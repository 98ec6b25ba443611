"""Chooses the offload plan of a model: where its weights are while it runs on a GPU.

Pure: sizes in bytes, no GPU access. The plans, from the fastest to the smallest:

    none        all weights are on the GPU
    model       each part (text encoders, denoiser, VAE) is moved to the GPU when it runs
    group       two blocks of the denoiser at a time, one layer of everything else
    sequential  one layer at a time
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Plan = Literal["none", "model", "group", "sequential"]
Offload = Literal["auto", "none", "model", "group", "sequential"]

PLANS: tuple[Plan, ...] = get_args(Plan)
_MARGIN = 1.05  # buffers, alignment and parts that stay in a wider precision
_LEAST_WORKING_BYTES = 1_000_000_000  # on a GPU: workspaces of kernels, activations of the denoiser
_NUMBERS_PER_PIXEL = 1024  # the VAE at full size: about four tensors of 256 channels at a time


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of weights that must be on the GPU at the same time under each plan. `all` excludes parts shared with a
    model that is there already."""

    all: int
    largest_part: int
    largest_group: int
    largest_layer: int


def working_bytes(width: int, height: int, item_bytes: int) -> int:
    """Estimated memory for generating a picture of this size, without weights; numbers take `item_bytes`."""
    return max(_LEAST_WORKING_BYTES, width * height * _NUMBERS_PER_PIXEL * item_bytes)


def needs(sizes: WeightSizes, working: int) -> dict[Plan, int]:
    """Free GPU memory required under each plan: weights with a margin, plus `working` bytes."""
    weights = (sizes.all, sizes.largest_part, sizes.largest_group, sizes.largest_layer)
    return {plan: int(size * _MARGIN) + working for plan, size in zip(PLANS, weights, strict=True)}


def choose_plan(wish: Offload, needed: Mapping[Plan, int], free: int, possible: Collection[Plan] = PLANS) -> Plan:
    """`wish` itself, or for `auto` the fastest of the `possible` plans that fits into `free` bytes.

    If none fits it is the smallest: the caller decides whether to try. A `wish` that is not possible is replaced by the
    next smaller possible plan, if there is one.
    """
    allowed = [plan for plan in PLANS if plan in possible]
    if wish == "auto":
        fitting = (plan for plan in allowed if needed[plan] <= free)
    else:
        fitting = (plan for plan in allowed if PLANS.index(plan) >= PLANS.index(wish))
    return next(fitting, allowed[-1])
