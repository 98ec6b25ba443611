"""Jobs with random controls for the soak: tiny models of three families, and what may be used beside them."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from app.config import ROOT
from tools.tiny_models.auxiliaries import build_controlnet, build_ip_adapter, build_redux
from tools.tiny_models.build import build
from tools.tiny_models.encoders import CLIP_WIDTH
from tools.tiny_models.lora import make_lora
from tools.tiny_models.sample import picture

MODELS = ("sd15", "sdxl", "flux")
SIDE = 64  # pixels
_NETS: Mapping[str, Mapping[str, str | None]] = {  # ControlNets by model, with the mode of a union
    "sd15": {"net-a": None, "net-b": None},
    "sdxl": {"net-xl": None, "union-xl": "canny"},
    "flux": {"net-fl": None, "union-fl": "depth"},
}
_ADAPTERS = {"sd15": ("look-15",), "sdxl": ("look-xl",), "flux": ("look-fl", "redux-fl")}
_WORDS = {"sd15": ("<moody>", "(moody:1.3)"), "sdxl": ("<grim>",), "flux": ()}
_SCHEDULERS = {
    "sd15": ("euler_a", "dpmpp_2m", "unipc", "ddim", "lcm", "heun"),
    "sdxl": ("euler", "dpmpp_2m_sde", "dpm2_a", "deis"),
    "flux": ("dpmpp_2m", "unipc", "lcm"),
}
_UPSCALERS = ("lanczos", "drawings-x2", "sharper", "latent")


@dataclass(frozen=True)
class Recipe:
    """A request that can be sent again and again. `kinds` are the controls in it."""

    body: Mapping[str, Any]
    kinds: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.body['model_id']}: {', '.join(self.kinds) or 'plain'}"


def environment(folder: Path) -> dict[str, str]:
    """Build all checkpoints in `folder`; returns the settings of a service that has them."""
    bases = {name: build(name, folder) for name in MODELS}
    lines = {f"MODEL_{name}": f"{name};{base};Tiny;local;false" for name, base in bases.items()}
    nets = {
        "net-a": "sd15",
        "net-b": "sd15",
        "net-xl": "sdxl",
        "union-xl": "sdxl",
        "net-fl": "flux",
        "union-fl": "flux",
    }
    for number, (name, base) in enumerate(nets.items()):
        family = f"{base}-union" if name.startswith("union") else base
        path = build_controlnet(family, bases[base], folder / name, seed=number + 1)
        options = {"kind": "controlnet", "family": base}
        lines[f"MODEL_N{number}"] = f"{name};{path};Net;local;false;{json.dumps(options)}"
    for name, base in (("look-15", "sd15"), ("look-xl", "sdxl"), ("look-fl", "flux")):
        path = build_ip_adapter(base, bases[base], folder / name)
        options = {
            "kind": "ip-adapter",
            "family": base,
            "file": "adapter.safetensors",
            "image_encoder": "image_encoder",
        }
        lines[f"MODEL_A{base}"] = f"{name};{path};Look;local;false;{json.dumps(options)}"
    path = build_redux(bases["flux"], folder / "redux-fl")
    lines["MODEL_R"] = f'redux-fl;{path};Redux;local;false;{{"kind": "redux"}}'
    sharper = shutil.copy(ROOT / "builtin/upscaler/drawings-x2.safetensors", folder / "sharper.safetensors")
    lines["MODEL_U"] = f'sharper;{sharper};Upscaler;local;false;{{"kind": "upscaler"}}'
    for name, base in bases.items():
        for number in (1, 2):
            make_lora(base, folder / "loras" / f"{name}-{number}.safetensors", seed=number)
    _embeddings(folder / "embeddings")
    return {**lines, "LORAS_DIR": str(folder / "loras"), "EMBEDDINGS_DIR": str(folder / "embeddings")}


def _embeddings(folder: Path) -> None:
    numbers = torch.Generator().manual_seed(3)
    wide = [torch.randn(2, CLIP_WIDTH, generator=numbers) for _ in range(2)]
    folder.mkdir()
    save_file({"emb_params": wide[0]}, folder / "moody.safetensors")
    save_file({"clip_l": wide[0], "clip_g": wide[1]}, folder / "grim.safetensors")


def recipes(count: int, seed: int) -> list[Recipe]:
    """`count` different requests: one without controls for each model, then random ones."""
    order = random.Random(seed)
    found = [_recipe(order, model, chance=0.0) for model in MODELS]
    while len(found) < count:
        recipe = _recipe(order, MODELS[len(found) % len(MODELS)], chance=0.4)
        if recipe.body not in [each.body for each in found]:
            found.append(recipe)
    return found


def _recipe(order: random.Random, model: str, chance: float) -> Recipe:
    kinds: list[str] = []

    def is_used(kind: str) -> bool:
        if order.random() >= chance:
            return False
        kinds.append(kind)
        return True

    settings: dict[str, Any] = {
        "num_inference_steps": 3,
        "width": SIDE,
        "height": SIDE,
        "guidance_scale": 4.0,
        "seed": order.randrange(1000),
    }
    prompt, inputs = "a red cat under a tree", list[dict[str, Any]]()
    if is_used("control"):
        inputs += [_control(order, model, index) for index in range(order.choice((1, 1, 2)))]
        if len({each["model"] for each in inputs}) > 1:  # nets of two classes cannot be used together
            inputs = [{**each, "model": inputs[0]["model"], "mode": inputs[0].get("mode")} for each in inputs]
            inputs = [{name: value for name, value in each.items() if value is not None} for each in inputs]
    if is_used("reference"):
        adapter = order.choice(_ADAPTERS[model])
        kinds[-1] = "Redux" if adapter.startswith("redux") else "IP-Adapter"
        inputs.append({"role": "reference", "source": _source(5), "model": adapter, "weight": order.choice((0.5, 1.0))})
    if is_used("LoRA"):
        settings["loras"] = [{"id": f"{model}-{order.choice((1, 2))}", "scale": order.choice((0.5, 1.0))}]
    if _WORDS[model] and is_used("embedding"):
        prompt += f" {order.choice(_WORDS[model])}"
    if is_used("scheduler"):
        settings["scheduler"] = order.choice(_SCHEDULERS[model])
    if is_used("upscale"):
        settings["upscale"] = {"factor": 2, "strength": 0.5, "model": order.choice(_UPSCALERS)}
    body = {"model_id": model, "prompt": prompt, "settings": settings}
    return Recipe(body | ({"inputs": inputs} if inputs else {}), kinds)


def _control(order: random.Random, model: str, index: int) -> dict[str, Any]:
    net, mode = order.choice(list(_NETS[model].items()))
    found = {
        "role": "control",
        "source": _source(index),
        "model": net,
        "processor": order.choice(("canny", "tile", "none")),
        "weight": order.choice((0.6, 1.0)),
        "end": order.choice((0.5, 1.0)),
    }
    return found | ({"mode": mode} if mode else {})


def _source(turns: int) -> str:
    buffer = io.BytesIO()
    picture(SIDE, SIDE).rotate(36 * turns).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pixels_of(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB").tobytes()
