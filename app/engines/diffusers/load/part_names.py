"""Which parts of a model a single file holds, and how their tensors are called in it. Independent of torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

Role = Literal["denoiser", "vae", "text_encoder"]

_ROLES: Mapping[str, Role] = {  # by how names begin in files with several parts
    "model.diffusion_model.": "denoiser",
    "first_stage_model.": "vae",
    "vae.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.": "text_encoder",
    "text_encoders.": "text_encoder",
}
_ALONE = ("diffusion_model.", "transformer.", "unet.", "net.")  # before all names of some files with one denoiser
_ENCODER_PREFIX_STEPS = {"cond_stage_model": 1, "text_encoders": 2, "conditioner": 3}  # that tell encoders apart


def roles_in(names: Collection[str]) -> set[Role]:
    """The kinds of parts in a file with these tensors."""
    found = {role for prefix, role in _ROLES.items() if any(name.startswith(prefix) for name in names)}
    if found:
        return found
    return {"vae"} if _is_vae(names) else {"denoiser"}


def role_of(part: str) -> Role:
    """The kind of a pipeline's part."""
    if part.startswith("text_encoder"):
        return "text_encoder"
    return "vae" if part.startswith("vae") else "denoiser"


def own_names(names: Collection[str], role: Role) -> dict[str, str]:
    """The names in the file of the tensors of a part, by their names without prefix."""
    prefixes = [prefix for prefix, its in _ROLES.items() if its == role]
    found = {name.removeprefix(prefix): name for prefix in prefixes for name in names if name.startswith(prefix)}
    if found or any(name.startswith(tuple(_ROLES)) for name in names):
        return found
    alone = next((start for start in _ALONE if names and all(_begins(name, start) for name in names)), "")
    return {name.removeprefix(alone): name for name in names}


def count_text_encoders(names: Iterable[str]) -> int:
    """How many text encoders a file holds."""
    found = set()
    for name in names:
        steps = name.split(".")
        if (count := _ENCODER_PREFIX_STEPS.get(steps[0])) is not None:
            found.add(tuple(steps[:count]))
    return len(found)


def _begins(name: str, start: str) -> bool:
    return name.startswith(start) or name == "scaled_fp8"  # a marker that some write without the prefix


def _is_vae(names: Collection[str]) -> bool:
    return any(name.startswith("decoder.conv_in.") for name in names) or any(
        name.startswith(("decoder.up_blocks.", "decoder.middle.", "decoder.conv1.")) for name in names
    )
