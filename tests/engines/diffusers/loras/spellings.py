"""LoRAs for a text encoder in all naming schemes of trainers, with the expected change of the encoder's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

RANK, ALPHA = 4, 2.0
_OLD = {"q_proj": "to_q_lora", "k_proj": "to_k_lora", "v_proj": "to_v_lora", "out_proj": "to_out_lora"}
_LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")

Tensors = dict[str, torch.Tensor]
Spelling = Callable[[str, str, torch.Tensor, torch.Tensor], Tensors]


def _kohya(prefix: str) -> Spelling:
    def spell(part: str, path: str, down: torch.Tensor, up: torch.Tensor) -> Tensors:
        harness = f"{prefix}text_model_{path.replace('.', '_')}"
        return {
            f"{harness}.lora_down.weight": down,
            f"{harness}.lora_up.weight": up,
            f"{harness}.alpha": torch.tensor(ALPHA),
        }

    return spell


def _dotted(level: str, down_name: str, up_name: str) -> Spelling:
    def spell(part: str, path: str, down: torch.Tensor, up: torch.Tensor) -> Tensors:
        return {f"{part}.{level}{path}.{down_name}.weight": down, f"{part}.{level}{path}.{up_name}.weight": up}

    return spell


def _oldest(part: str, path: str, down: torch.Tensor, up: torch.Tensor) -> Tensors:
    above, _, last = path.rpartition(".")
    named = f"{part}.text_model.{above}.{_OLD[last]}" if last in _OLD else f"{part}.text_model.{path}.lora_linear_layer"
    return {f"{named}.down.weight": down, f"{named}.up.weight": up}


def _comfy(part: str, path: str, down: torch.Tensor, up: torch.Tensor) -> Tensors:
    encoder = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}[part]
    harness = f"text_encoders.{encoder}.transformer.text_model.{path}"
    return {
        f"{harness}.lora_down.weight": down,
        f"{harness}.lora_up.weight": up,
        f"{harness}.alpha": torch.tensor(ALPHA),
    }


SPELLINGS: dict[str, tuple[Spelling, float]] = {  # with the share of `up · down` that reaches the weights
    "peft": (_dotted("text_model.", "lora_A", "lora_B"), 1.0),
    "peft-flat": (_dotted("", "lora_A", "lora_B"), 1.0),
    "kohya": (_kohya("lora_te_"), ALPHA / RANK),
    "kohya-1": (_kohya("lora_te1_"), ALPHA / RANK),
    "diffusers": (_dotted("text_model.", "lora_linear_layer.down", "lora_linear_layer.up"), 1.0),
    "oldest": (_oldest, 1.0),
    "comfy": (_comfy, ALPHA / RANK),
}
SECOND = SPELLINGS | {"kohya": (_kohya("lora_te2_"), ALPHA / RANK)}  # of the second text encoder
del SECOND["kohya-1"]


def write_text_lora(model: Path, part: str, file: Path, spelling: str) -> dict[str, torch.Tensor]:
    """Write a LoRA for the text encoder `part` of the diffusers folder `model`; returns what each of its weights grows
    by, by the names of the weights."""
    spell, share = (SECOND if part == "text_encoder_2" else SPELLINGS)[spelling]
    numbers = torch.Generator().manual_seed(5)
    tensors: Tensors = {}
    growth: dict[str, Any] = {}
    weights = load_file(model / part / "model.safetensors")
    for name, weight in sorted(weights.items()):
        path = name.removesuffix(".weight").removeprefix("text_model.")
        if not path.endswith(_LAYERS) or weight.ndim != 2:
            continue
        down = torch.randn(RANK, weight.shape[1], generator=numbers)
        up = torch.randn(weight.shape[0], RANK, generator=numbers) * 3 * float(weight.std())
        tensors |= spell(part, path, down, up)
        growth[name] = share * (up @ down)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, {"format": "pt"})
    return growth
