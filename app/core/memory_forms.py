"""The forms that the weights of a model can have on a machine, the best first.

Pure. In 16 bit the picture is what the model's authors meant; float8 storage and 4 bit change it a little. A text
encoder is made smaller before the denoiser is, since the picture depends on it less.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.core.memory_parts import Kind, PartShape
from app.core.memory_plan import PLANS, Form, Plan

FOUR_BIT: Kind = "bitsandbytes-4bit"
FOUR_BIT_PACKAGE = "bitsandbytes"
_NAMES: Mapping[Kind, str] = {FOUR_BIT: "4 bit", "bitsandbytes-8bit": "8 bit", "gguf": "GGUF"}
_BOUND_TO_GPU = "bitsandbytes"  # weights of these kinds cannot be moved block by block


@dataclass(frozen=True)
class Machine:
    """What decides which forms a machine can have: a CUDA device, the installed `packages`, whether the pipeline says
    in which order its parts run (`ordered`, needed by the placement `model`)."""

    cuda: bool = True
    packages: Collection[str] = ()
    ordered: bool = True


@dataclass(frozen=True)
class Forms:
    """`usable` are tried in this order. `missing` would be there with a package that is not installed."""

    usable: Sequence[Form]
    missing: Sequence[Form] = ()


def possible_forms(
    parts: Sequence[PartShape],
    machine: Machine,
    asked: Mapping[str, Kind],
    *,
    automatic: bool = True,
    cast_encoders: bool = True,
) -> Forms:
    """The forms of a model whose catalogue line asks for the kinds `asked`.

    If `automatic`, smaller forms follow of the parts that the line leaves open: with `cast_encoders` the large text
    encoders, and the denoisers unless it asks for anything.
    """
    denoisers = [part.name for part in parts if part.is_denoiser and part.name not in asked]
    encoders = [part.name for part in parts if part.is_large_encoder and part.name not in asked and cast_encoders]
    text8: dict[str, Kind] = dict.fromkeys(encoders, "float8")
    all8: dict[str, Kind] = dict.fromkeys(denoisers, "float8")
    all4: dict[str, Kind] = dict.fromkeys(denoisers, FOUR_BIT)
    text4: dict[str, Kind] = dict.fromkeys(encoders, FOUR_BIT)
    usable: list[dict[str, Kind]] = [{}]
    missing: list[dict[str, Kind]] = []
    if automatic:
        usable.append(text8)
    if automatic and not asked:
        usable += [all8, text8 | all8]
        four = [all4, text8 | all4, text4 | all4] if machine.cuda else []
        (usable if FOUR_BIT_PACKAGE in machine.packages else missing).extend(four)
    return Forms(
        _distinct([_form({**asked, **kinds}, parts, machine) for kinds in usable]),
        _distinct([_form({**asked, **kinds}, parts, machine) for kinds in missing]),
    )


def possible_plans(machine: Machine, kinds: Mapping[str, Kind]) -> tuple[Plan, ...]:
    """The placements that work: only "none" on a CPU. Weights in fewer bits are not moved layer by layer."""
    if not machine.cuda:
        return ("none",)
    refused: set[Plan] = set() if machine.ordered else {"model"}
    if kinds:
        refused.add("sequential")
    if any(kind.startswith(_BOUND_TO_GPU) for kind in kinds.values()):
        refused.add("group")
    return tuple(plan for plan in PLANS if plan not in refused)


def _form(kinds: Mapping[str, Kind], parts: Sequence[PartShape], machine: Machine) -> Form:
    item = max((part.item for part in parts if part.is_denoiser), default=2)
    full = f"{8 * item} bit"
    denoiser = next((_name(kinds[part.name]) for part in parts if part.is_denoiser and part.name in kinds), full)
    others = {kind for part, kind in kinds.items() if not part.startswith(("transformer", "unet"))}
    text = f" with text encoder in {' and '.join(sorted(map(_name, others)))}" if others else ""
    return Form(denoiser + text, possible_plans(machine, kinds), dict(kinds))


def _name(kind: Kind) -> str:
    return _NAMES.get(kind, kind)


def _distinct(forms: Sequence[Form]) -> list[Form]:
    return list({form.label: form for form in reversed(forms)}.values())[::-1]
