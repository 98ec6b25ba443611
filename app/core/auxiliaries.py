"""Auxiliary models of the catalogue: ControlNets, reference adapters, and the detectors that make control pictures;
and the options of their lines, and of those of upscalers.

They draw nothing by themselves: a request names them in its `inputs`, and they run beside a model whose architecture
they were trained for. That architecture has a name of `core/loras.py`'s FAMILIES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.loras import FAMILIES

Kind = Literal["controlnet", "ip-adapter", "redux", "detector", "upscaler"]
Detector = Literal["depth", "pose", "seg"]
REFERENCE_KINDS: frozenset[Kind] = frozenset({"ip-adapter", "redux"})
IP_ADAPTER_FAMILIES = ("sd15", "sdxl", "flux", "sd3")
_OF_AUXILIARIES = ("family", "file", "image_encoder", "detects", "person_detector")
_NO_MODES: Mapping[str, int] = {}


class AuxiliaryOptions(BaseModel):
    """Options of a catalogue line of an auxiliary model. `file` and `image_encoder` are paths in its folder or
    repository; `image_encoder` may also be a folder or repository of its own, as `person_detector` is, which finds the
    people for a detector of poses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind | None = None
    family: str | None = None
    file: Annotated[str, Field(pattern=r"\.(?i:safetensors)$", max_length=500)] | None = None
    image_encoder: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    detects: Detector | None = None
    person_detector: Annotated[str, Field(min_length=1, max_length=500)] | None = None

    @property
    def second(self) -> str | None:
        """The folder or repository of a model that this one needs besides."""
        return self.image_encoder or self.person_detector

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is None:
            given = [name for name in _OF_AUXILIARIES if getattr(self, name) is not None]
            if given:
                raise ValueError(f'{given[0]} is for auxiliary models: add "kind"')
            return self
        if self.family is not None and self.family not in FAMILIES:
            raise ValueError(f"the family {self.family!r} is unknown; use one of {', '.join(FAMILIES)}")
        if self.kind == "ip-adapter":
            self._check_ip_adapter()
        if (self.kind == "detector") != (self.detects is not None):
            raise ValueError(f'a line of kind detector, and no other, has "detects": {", ".join(get_args(Detector))}')
        if self.person_detector is not None and self.detects != "pose":
            raise ValueError('person_detector is for a line with "detects": pose')
        for name in (self.file, self.image_encoder, self.person_detector):
            if name is not None and ".." in name.split("/"):
                raise ValueError(f"{name!r} leaves the model's folder")
        return self

    def _check_ip_adapter(self) -> None:
        if self.file is None:
            raise ValueError('an ip-adapter needs "file", the .safetensors in its folder or repository')
        if self.family not in IP_ADAPTER_FAMILIES:
            raise ValueError(f'an ip-adapter needs "family": {", ".join(IP_ADAPTER_FAMILIES)}')
        if self.image_encoder is None:
            raise ValueError('an ip-adapter needs "image_encoder", a folder of its own or in its repository')


@dataclass(frozen=True)
class NetShape:
    """What the configuration of a ControlNet says: its class, the architecture that it is for, the widths that must
    equal the base's (`cross_attention_dim` and the like; empty: not stated), and the modes of a union."""

    net_class: str
    family: str | None
    widths: Mapping[str, Any]
    modes: int = 0

    @property
    def is_union(self) -> bool:
        return self.modes > 0


_FAMILY_OF_CLASS = {
    "ControlNetUnionModel": "sdxl",
    "SD3ControlNetModel": "sd3",
    "FluxControlNetModel": "flux",
    "QwenImageControlNetModel": "qwen",
    "ZImageControlNetModel": "zimage",
    "SanaControlNetModel": "sana",
}
_UNET_BY_WIDTH = {768: "sd15", 1024: "sd21", 2048: "sdxl"}
_WIDTHS: Mapping[str, tuple[str, ...]] = {
    "ControlNetModel": ("cross_attention_dim",),
    "ControlNetUnionModel": ("cross_attention_dim",),
    "SD3ControlNetModel": ("num_attention_heads", "attention_head_dim"),
    "FluxControlNetModel": ("num_attention_heads", "attention_head_dim", "joint_attention_dim"),
    "QwenImageControlNetModel": ("num_attention_heads", "attention_head_dim", "joint_attention_dim"),
    "ZImageControlNetModel": ("dim",),
    "SanaControlNetModel": ("num_attention_heads", "attention_head_dim"),
}


def net_shape(config: Mapping[str, Any]) -> NetShape | None:
    """The shape of a ControlNet by its config.json; None if it is none that can be used."""
    name = config.get("_class_name")
    if isinstance(config.get("num_control_type"), int) and "ControlNet" in str(name):
        name = "ControlNetUnionModel"  # older files have names of their makers for it
    if not isinstance(name, str) or name not in _WIDTHS:
        return None
    family = _FAMILY_OF_CLASS.get(name)
    if name == "ControlNetModel":
        is_xl = config.get("addition_embed_type") == "text_time"
        width = config.get("cross_attention_dim")
        family = "sdxl" if is_xl else _UNET_BY_WIDTH.get(width) if isinstance(width, int) else None
    widths = {key: config[key] for key in _WIDTHS[name] if config.get(key) is not None}
    modes = config.get("num_control_type" if name == "ControlNetUnionModel" else "num_mode")
    return NetShape(name, family, widths, modes if isinstance(modes, int) else 0)


def width_problem(net: NetShape, denoiser: Mapping[str, Any]) -> str | None:
    """Why a ControlNet does not fit a denoiser with this configuration, as far as their widths say."""
    for name, value in net.widths.items():
        own = denoiser.get(name)
        if own is not None and own != value:
            return f"its {name} is {value}, that of the model {own}"
    return None


# What a union ControlNet calls the kinds of control pictures. SDXL's is xinsir's ProMax, FLUX' is InstantX's.
UNION_MODES: Mapping[str, Mapping[str, int]] = {
    "ControlNetUnionModel": {
        "pose": 0,
        "depth": 1,
        "scribble": 2,
        "soft_edge": 2,
        "canny": 3,
        "lineart": 3,
        "normal": 4,
        "seg": 5,
        "tile": 6,
        "repaint": 7,
    },
    "FluxControlNetModel": {
        "canny": 0,
        "tile": 1,
        "depth": 2,
        "blur": 3,
        "pose": 4,
        "gray": 5,
        "low_quality": 6,
    },
}


def modes_of(net: NetShape) -> Mapping[str, int]:
    """The modes of a union ControlNet by name; empty for another one."""
    if not net.is_union:
        return _NO_MODES
    return {name: mode for name, mode in UNION_MODES.get(net.net_class, _NO_MODES).items() if mode < net.modes}
