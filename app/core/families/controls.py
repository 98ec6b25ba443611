"""Which pipeline class draws with a ControlNet, by the family of the model and the class of the net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.families.image_families import FLUX_CONTROL
from app.core.families.lookup import family_of
from app.core.tasks import Task

Pipelines = Mapping[Task, str]


@dataclass(frozen=True)
class ControlRules:
    """`pipelines`: by the class of the net, then by task. `most`: how many control pictures a call takes, `one_net`:
    all by the same net; `periods`: whether a control may begin later and end earlier."""

    pipelines: Mapping[str, Pipelines]
    most: int = 8
    one_net: bool = False
    periods: bool = True


_FLUX: Pipelines = {
    "txt2img": "FluxControlNetPipeline",
    "img2img": "FluxControlNetImg2ImgPipeline",
    "inpaint": "FluxControlNetInpaintPipeline",
}
_RULES: Mapping[str, ControlRules] = {
    "Stable Diffusion": ControlRules(
        {
            "ControlNetModel": {
                "txt2img": "StableDiffusionControlNetPipeline",
                "img2img": "StableDiffusionControlNetImg2ImgPipeline",
                "inpaint": "StableDiffusionControlNetInpaintPipeline",
            }
        },
    ),
    "Stable Diffusion XL": ControlRules(
        {
            "ControlNetModel": {
                "txt2img": "StableDiffusionXLControlNetPipeline",
                "img2img": "StableDiffusionXLControlNetImg2ImgPipeline",
                "inpaint": "StableDiffusionXLControlNetInpaintPipeline",
            },
            "ControlNetUnionModel": {
                "txt2img": "StableDiffusionXLControlNetUnionPipeline",
                "img2img": "StableDiffusionXLControlNetUnionImg2ImgPipeline",
                "inpaint": "StableDiffusionXLControlNetUnionInpaintPipeline",
            },
        },
    ),
    "Stable Diffusion 3": ControlRules({"SD3ControlNetModel": {"txt2img": "StableDiffusion3ControlNetPipeline"}}),
    "FLUX.1": ControlRules({"FluxControlNetModel": _FLUX}),
    "Qwen-Image": ControlRules({"QwenImageControlNetModel": {"txt2img": "QwenImageControlNetPipeline"}}, one_net=True),
    "Z-Image": ControlRules({"ZImageControlNetModel": {"txt2img": "ZImageControlNetPipeline"}}, most=1, periods=False),
    "Sana": ControlRules({"SanaControlNetModel": {"txt2img": "SanaControlNetPipeline"}}, most=1, periods=False),
}
# Pipelines whose argument `image` is the control picture; elsewhere it is `control_image`.
CONTROL_IS_IMAGE = frozenset({"StableDiffusionControlNetPipeline", "StableDiffusionXLControlNetPipeline"})
_ADAPTED: Mapping[str, str] = {  # architectures of IP-Adapters by family
    "Stable Diffusion": "sd15",
    "Stable Diffusion XL": "sdxl",
    "FLUX.1": "flux",
    "Stable Diffusion 3": "sd3",
}


def control_rules(pipeline_class: str) -> ControlRules | None:
    """The rules of a model with this pipeline class; None if no ControlNet can be used with it."""
    family = family_of(pipeline_class)
    if family is None or has_own_control(pipeline_class):
        return None
    return _RULES.get(family.name)


def has_own_control(pipeline_class: str) -> bool:
    """Whether the model takes a control picture by itself, and needs one."""
    return pipeline_class in FLUX_CONTROL.values()


def controlled_pipeline(pipeline_class: str, net_class: str, task: Task) -> str | None:
    """The class that runs `task` of such a model with such a net; None if diffusers has none."""
    rules = control_rules(pipeline_class)
    return None if rules is None else rules.pipelines.get(net_class, {}).get(task)


def ip_adapter_family(pipeline_class: str) -> str | None:
    """The architecture whose IP-Adapters fit a model with this pipeline class; None if none do."""
    family = family_of(pipeline_class)
    return None if family is None else _ADAPTED.get(family.name)


def takes_redux(pipeline_class: str) -> bool:
    """Whether a reference can be read by FLUX Redux, which makes it part of the prompt."""
    family = family_of(pipeline_class)
    return family is not None and family.name == "FLUX.1"
