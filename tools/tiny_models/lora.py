"""Write a LoRA of random numbers for a model's attention, strong enough to change the image visibly.

python -m tools.tiny_models.lora MODEL_DIR OUT_FILE [--rank 4] [--strength 1.0] [--seed 1] [--text-encoder]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_ATTENTION = re.compile(
    r"(.*\.(?:attn\d?|(?:self_|cross_)?attention|self_attn)"
    r"\.(?:to_[qkv]|to_(?:query|key|value)|to_out\.0|out_layer|add_[qkv]_proj|img_qkv_proj|txt_kv_proj))\.weight"
)
_TEXT_ATTENTION = re.compile(r"(.*\.self_attn\.[qkv]_proj)\.weight")


def make_lora(
    model: Path, out: Path, *, rank: int = 4, strength: float = 1.0, seed: int = 1, text_encoder: bool = False
) -> Path:
    """Write a LoRA for the diffusers folder `model` to `out`, in diffusers' names; returns `out`.

    At scale 1 it changes each weight by about `strength` times the standard deviation of its layer. Reproducible byte
    for byte. `text_encoder`: for the first text encoder too.
    """
    numbers = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for part, pattern in _parts(model, text_encoder):
        for name, weight in sorted(_weights(model / part).items()):
            found = pattern.fullmatch(name)
            if found is None or weight.ndim != 2:
                continue
            rows, columns = weight.shape
            scale = strength * float(weight.float().std()) / rank**0.5
            down, up = torch.randn(rank, columns, generator=numbers), torch.randn(rows, rank, generator=numbers)
            tensors[f"{part}.{found[1]}.lora_A.weight"] = down
            tensors[f"{part}.{found[1]}.lora_B.weight"] = up * scale
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, {"format": "pt"})
    return out


def _parts(model: Path, text_encoder: bool) -> Iterator[tuple[str, re.Pattern[str]]]:
    yield ("transformer" if (model / "transformer").is_dir() else "unet"), _ATTENTION
    if text_encoder:
        yield "text_encoder", _TEXT_ATTENTION


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_models.lora", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("out", type=Path, metavar="OUT_FILE")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text-encoder", action="store_true")
    print(make_lora(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
