"""The layers of a pipeline's denoiser that the modules of a LoRA file mean.

A module whose path is that of a layer, in any spelling, means it. Others have the names of the original code, with
fused layers: diffusers' conversion is asked where a LoRA for such a module goes, by one whose numbers say which module
and row they are of. So adapters that diffusers cannot convert go where its LoRAs would.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from diffusers.utils import convert_unet_state_dict_to_peft

from app.core.memory_parts import DENOISERS
from app.engines.diffusers.loras.adapters import Rows

LayerKey = tuple[str, str]  # the pipeline's part, and the layer's path in it
Target = tuple[LayerKey, Rows]
KEY_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, NotImplementedError)
_PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "lora_unet_",
    "lora_transformer_",
    "lycoris_",
)


def denoisers_of(pipeline: Any) -> list[str]:
    """The names of the parts that denoise and take LoRAs."""
    loadable = getattr(pipeline, "_lora_loadable_modules", None) or DENOISERS
    names = [name for name in loadable if name.startswith(DENOISERS)]
    return [name for name in names if isinstance(getattr(pipeline, name, None), torch.nn.Module)]


def targets_of(pipeline: Any, modules: Mapping[str, tuple[int, int]]) -> dict[str, list[Target]]:
    """The layers of each of `modules`, given with their numbers of outputs and inputs; those not found are left out."""
    found: dict[str, list[Target]] = {}
    layers = {part: _layers(getattr(pipeline, part)) for part in denoisers_of(pipeline)}
    for module in modules:
        if (key := _direct(module, layers)) is not None:
            found[module] = [(key, None)]
    left = {module: shape for module, shape in modules.items() if module not in found}
    return found | (_converted(pipeline, left) if left else {})


def in_diffusers_names(pipeline: Any, tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors of plain LoRAs as `<part>.<layer>.lora_A.weight`, and their alphas. Raises what is in KEY_ERRORS."""
    asked = inspect.signature(pipeline.lora_state_dict).parameters
    more: dict[str, Any] = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
    if "return_alphas" in asked:
        more["return_alphas"] = True
    found = pipeline.lora_state_dict(tensors, **more)
    named, alphas = found if isinstance(found, tuple) else (found, None)
    named = {name: tensor for name, tensor in named.items() if not name.endswith("alpha")}
    if named and not any("lora_A" in name for name in named):
        named = convert_unet_state_dict_to_peft(named)
    return named, alphas or {}


def _direct(module: str, layers: Mapping[str, Mapping[str, str]]) -> LayerKey | None:
    if module.startswith("transformer_2."):
        part, rest = "transformer_2", module.removeprefix("transformer_2.")
    else:
        part, rest = next(iter(layers), ""), module
        for prefix in _PREFIXES:
            rest = rest.removeprefix(prefix)
    path = layers.get(part, {}).get(_plain(rest))
    return None if path is None else (part, path)


def _layers(part: torch.nn.Module) -> dict[str, str]:
    """The paths of a part's layers by those paths without separators."""
    named = ((path, getattr(module, "weight", None)) for path, module in part.named_modules())
    return {_plain(path): path for path, weight in named if isinstance(weight, torch.Tensor) and weight.ndim >= 2}


def _plain(path: str) -> str:
    return path.replace(".", "_")


def _converted(pipeline: Any, modules: Mapping[str, tuple[int, int]]) -> dict[str, list[Target]]:
    if not hasattr(pipeline, "lora_state_dict"):
        return {}
    numbered = dict(enumerate(modules, start=1))
    for spell in (str, _as_kohya):
        try:
            named, _ = in_diffusers_names(pipeline, _probe(numbered, modules, spell))
        except KEY_ERRORS:
            continue
        if found := _read_probe(named, numbered):
            return found
    return {}


def _as_kohya(module: str) -> str:
    for prefix in _PREFIXES:
        module = module.removeprefix(prefix)
    return f"lora_unet_{_plain(module)}"


def _probe(numbered: Mapping[int, str], modules: Mapping[str, tuple[int, int]], spell: Any) -> dict[str, torch.Tensor]:
    """A LoRA of rank 1 for `modules`: `down` holds the number of the module, `up` those of its rows, from 1."""
    tensors: dict[str, torch.Tensor] = {}
    for number, module in numbered.items():
        (rows, columns), name = modules[module], spell(module)
        old = name.startswith("lora_unet_")
        down, up = ("lora_down", "lora_up") if old else ("lora_A", "lora_B")
        tensors[f"{name}.{down}.weight"] = torch.full((1, columns), float(number))
        tensors[f"{name}.{up}.weight"] = torch.arange(1.0, rows + 1)[:, None]
        if old:
            tensors[f"{name}.alpha"] = torch.tensor(1.0)
    return tensors


def _read_probe(named: Mapping[str, torch.Tensor], numbered: Mapping[int, str]) -> dict[str, list[Target]]:
    found: dict[str, list[Target]] = {}
    for name, down in named.items():
        part_and_path, marker, _ = name.partition(".lora_A.")
        up = named.get(f"{part_and_path}.lora_B.weight")
        module = numbered.get(round(float(down.flatten()[0])))
        if marker and up is not None and module is not None:
            part, _, path = part_and_path.partition(".")
            found.setdefault(module, []).append(((part, path), _rows(up)))
    return found


def _rows(up: torch.Tensor) -> Rows:
    numbers = [round(float(value)) - 1 for value in up.flatten()]
    first = numbers[0]
    return slice(first, first + len(numbers)) if numbers == list(range(first, first + len(numbers))) else numbers


def parts_named(names: Iterable[str]) -> list[str]:
    """The parts that tensors in diffusers' names belong to."""
    return list(dict.fromkeys(name.partition(".")[0] for name in names))
