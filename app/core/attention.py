"""Decides which attention kernels a worker uses, by ATTENTION_BACKEND and what was tried on its device at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.acceleration import Attention

TRIED = ("auto", "xformers")


@dataclass(frozen=True)
class AttentionChoice:
    """`wish` is what the engine is asked for from now on; `note` says why it is less than the setting; `error` that an
    explicit wish cannot be fulfilled."""

    wish: Attention
    note: str = ""
    error: str = ""


def choose_kernels(wish: Attention, device: str, problems: Mapping[str, str]) -> AttentionChoice:
    """`problems` are those of the kinds that were tried on `device` (`app.core.device_reports`): empty = it works."""
    if wish not in TRIED:  # others are tried by the engine, when a model that can use them is loaded
        return AttentionChoice(wish)
    on_nvidia = device.startswith("cuda")
    problem = problems.get("xformers", "" if on_nvidia else f"it has no kernels for {device.partition(':')[0]}")
    if not problem:
        return AttentionChoice(wish)
    if wish == "xformers":
        return AttentionChoice(
            "native",
            error=f"ATTENTION_BACKEND=xformers does not work on this device ({problem})."
            " Set ATTENTION_BACKEND=auto, or run `cyberimage doctor` for what is missing.",
        )
    note = f"xformers does not work on this device ({problem}): native attention is used." if on_nvidia else ""
    return AttentionChoice("native", note=note)
