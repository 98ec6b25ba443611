"""The settings of a request as reported: of a provider's model only what was sent to it, null for the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.core.provider_input import NAMES
from app.core.request import GenerationRequest

LARGEST_SEED = 2**53  # exactly representable in every JSON parser
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_KEPT = ("loras",)
_FRACTIONS = ("guidance_scale", "strength")


class Reported(NamedTuple):
    negative_prompt: str | None
    settings: dict[str, Any]


def reported(request: GenerationRequest, sent: Mapping[str, Any] | None) -> Reported:
    """`sent` is the input of its prediction, None before there is one: then what the client set is reported."""
    settings, call = request.settings(), request.remote
    if call is None:
        return Reported(request.negative_prompt, settings)
    if sent is None and call.input is None:
        known = {name: value for name, value in settings.items() if name in call.chosen}
        negative = request.negative_prompt
    else:
        input = (sent if sent is not None else call.input) or {}
        known = _settings_in(input)
        negative = _first(input, NAMES["negative_prompt"])
    told = {name: known.get(name) if name not in _KEPT else value for name, value in settings.items()}
    return Reported(negative if isinstance(negative, str) and negative else None, told)


def seed_in(sent: Mapping[str, Any]) -> int | None:
    """The seed that was sent; None without one, or if it is beyond LARGEST_SEED."""
    seed = _first(sent, NAMES["seed"])
    return seed if _is_number(seed, int) and 0 <= seed <= LARGEST_SEED else None


def _settings_in(input: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a model's input by our names."""
    found: dict[str, Any] = {"seed": seed_in(input)}
    for name, names in NAMES.items():
        value = _first(input, names)
        if name not in ("prompt", "negative_prompt", "seed") and _is_number(
            value, (int, float) if name in _FRACTIONS else int
        ):
            found[name] = value
    return found | _size_in(input)


def _size_in(input: Mapping[str, Any]) -> dict[str, int]:
    sides = {name: input[name] for name in ("width", "height") if _is_number(input.get(name), int)}
    if sides:
        return sides
    written = next((_SIZE.fullmatch(str(input[name])) for name in ("size", "resolution") if input.get(name)), None)
    return {} if written is None else {"width": int(written[1]), "height": int(written[2])}


def _first(input: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((input[name] for name in names if input.get(name) is not None), None)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
