"""Checkpoints of parts from several places: a file with a denoiser on a base model, and a VAE from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core.loras import is_lora
from app.core.memory_parts import DENOISERS
from app.engines.diffusers.load.architecture import (
    Architecture,
    architecture_of,
    architecture_of_part,
    differ,
)
from app.engines.diffusers.load.checkpoint import Checkpoint, inspect_part
from app.engines.diffusers.load.part_names import Role, count_text_encoders, own_names, roles_in
from app.engines.diffusers.load.weights import count_named, count_tensors, fingerprint, tensor_shapes
from app.errors import ModelUnavailable

_VAE = "vae"
_USUAL_SCALING = 0.18215  # of a configuration without a factor


def holds_all_parts(file: Path, text_encoders: int = 1) -> bool:
    """Whether a file has a denoiser, a VAE and at least so many text encoders. Raises ModelUnavailable for a file that
    is no model."""
    shapes = tensor_shapes(file)
    if is_lora(shapes):
        raise ModelUnavailable(f"{file} is a LoRA, not a model. Put it into LORAS_DIR and name it in requests.")
    found = roles_in(shapes)
    if "denoiser" not in found:
        raise ModelUnavailable(f"{file} has no denoiser. A VAE alone is used by the option vae of another model.")
    return found >= {"vae", "text_encoder"} and count_text_encoders(shapes) >= text_encoders


def is_unet(file: Path) -> bool:
    """Whether the denoiser in `file` is a UNet."""
    found = _architecture_in(file)
    return found is not None and found.part_class == "UNet2DConditionModel"


def missing_base(file: Path) -> ModelUnavailable:
    """The error for a file that lacks parts and has no base."""
    shapes = tensor_shapes(file)
    named = {"vae": "the VAE", "text_encoder": "the text encoders"}
    missing = " and ".join(text for role, text in named.items() if role not in roles_in(shapes))
    found = _architecture_in(file)
    of = f" of {found.name}" if found else ""
    example = json.dumps({"base": found.base if found else "owner/repo"})
    return ModelUnavailable(
        f"{file} holds the denoiser{of} without {missing or 'all text encoders'}. Name the diffusers folder or"
        f" repository that has the other parts in the options of its MODEL_ line, such as {example}."
    )


def on_base(file: Path, base: Checkpoint, base_name: str) -> Checkpoint:
    """`base` with the denoiser in `file`, and its VAE if it has one. Raises ModelUnavailable when they are of different
    architectures."""
    denoiser = next((part for part in base.kinds if part in DENOISERS), None)
    if denoiser is None:
        raise ModelUnavailable(f"The base {base_name} has no transformer or UNet that {file} could take the place of.")
    _require_same(file, base, denoiser, base_name)
    made = _with_file(base, denoiser, file, "denoiser")
    if _VAE in roles_in(tensor_shapes(file)) and _VAE in base.kinds:
        made = _with_file(made, _VAE, file, "vae")
    return replace(made, revision=f"{fingerprint(file.parent, [file])} + base {base.revision}")


def with_vae_file(checkpoint: Checkpoint, file: Path) -> Checkpoint:
    """`checkpoint` with the VAE in `file`, which the model's own configuration describes."""
    _require_vae(checkpoint, file)
    if _VAE not in roles_in(tensor_shapes(file)):
        raise ModelUnavailable(f"{file} has no VAE. Correct the option vae.")
    made = _with_file(checkpoint, _VAE, file, "vae")
    return replace(made, revision=f"{made.revision} + vae {fingerprint(file.parent, [file])}")


def with_vae_folder(checkpoint: Checkpoint, folder: Path, variant: str | None, revision: str | None) -> Checkpoint:
    """`checkpoint` with the VAE in `folder`, or in its folder `vae`. Raises ModelUnavailable when its latents have
    another number of channels."""
    _require_vae(checkpoint, folder)
    place = vae_folder_in(folder)
    if place is None:
        raise ModelUnavailable(f"{folder} has no VAE: neither it nor its folder vae has a config.json of one.")
    config = part_config(place)
    class_name = str(config.get("_class_name"))
    _require_latents(config, part_config(checkpoint.folder_of(_VAE)), place, checkpoint)
    files = inspect_part(place, class_name, variant)
    return replace(
        checkpoint,
        kinds={**checkpoint.kinds, _VAE: f"diffusers.{class_name}"},
        files={**checkpoint.files, _VAE: files},
        weights={**checkpoint.weights, _VAE: count_tensors(files)},
        folders={**checkpoint.folders, _VAE: place},
        separate={part: file for part, file in checkpoint.separate.items() if part != _VAE},
        revision=f"{checkpoint.revision} + vae {revision or fingerprint(place, files)}",
    )


def vae_folder_in(folder: Path) -> Path | None:
    """`folder` if it is a VAE's, else its folder `vae` if that is one; None if there is none."""
    places = (folder, folder / _VAE)
    return next((place for place in places if str(part_config(place).get("_class_name")).startswith("Auto")), None)


def _with_file(checkpoint: Checkpoint, part: str, file: Path, role: Role) -> Checkpoint:
    names = own_names(list(tensor_shapes(file)), role).values()
    return replace(
        checkpoint,
        files={**checkpoint.files, part: [file]},
        weights={**checkpoint.weights, part: count_named(file, set(names))},
        separate={**checkpoint.separate, part: file},
    )


def _require_same(file: Path, base: Checkpoint, denoiser: str, base_name: str) -> None:
    its = _architecture_in(file)
    width = part_config(base.folder_of(denoiser)).get("cross_attention_dim")
    wanted = architecture_of_part(base.kinds[denoiser].split(".")[-1], width if isinstance(width, int) else None)
    if its is not None and wanted is not None and differ(its, wanted):
        raise ModelUnavailable(
            f"{file} is a denoiser of {its.name}, and its base {base_name} is {wanted.name}. Name a base of {its.name},"
            f" such as {its.base}."
        )


def _architecture_in(file: Path) -> Architecture | None:
    shapes: Mapping[str, Sequence[int]] = tensor_shapes(file)
    return architecture_of({name: shapes[full] for name, full in own_names(list(shapes), "denoiser").items()})


def _require_vae(checkpoint: Checkpoint, place: Path) -> None:
    if _VAE not in checkpoint.kinds:
        raise ModelUnavailable(f"The model has no VAE that {place} could take the place of. Remove the option vae.")


def _require_latents(config: Mapping[str, Any], own: Mapping[str, Any], place: Path, checkpoint: Checkpoint) -> None:
    """Refuse a VAE whose latents are not those of the model's own one, as far as their configurations say."""
    numbers: dict[str, float | None] = {"latent_channels": None}
    if config.get("_class_name") == own.get("_class_name"):  # a distilled VAE has latents of another scale
        numbers |= {"scaling_factor": _USUAL_SCALING, "shift_factor": None}
    for name, usual in numbers.items():
        ours, its = own.get(name, usual), config.get(name, usual)
        if own and ours != its:
            raise ModelUnavailable(
                f"The VAE {place} is one of another family: its {name} is {its}, and that of this"
                f" {checkpoint.pipeline_class} is {ours}. Choose a VAE of the model's family."
            )


def part_config(folder: Path) -> Mapping[str, Any]:
    """The config.json in `folder`; empty if there is none that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
