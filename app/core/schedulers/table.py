"""The schedulers that a request may name: one record each, with the class of diffusers for each kind of prediction.

Names are those of InvokeAI; labels are AUTOMATIC1111's names of the same samplers. A model predicts the noise or the
velocity of a diffusion (`epsilon`, `v_prediction`), or the velocity of a flow (`flow_prediction`); a record has a class
for each kind that its scheduler can solve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["diffusion", "flow"]
Prediction = Literal["epsilon", "v_prediction", "flow_prediction"]
PREDICTIONS: Mapping[Kind, tuple[Prediction, ...]] = MappingProxyType(
    {"diffusion": ("epsilon", "v_prediction"), "flow": ("flow_prediction",)}
)


def kind_of(prediction: Prediction) -> Kind:
    return "flow" if prediction == "flow_prediction" else "diffusion"


@dataclass(frozen=True)
class SchedulerClass:
    """A class of diffusers with what distinguishes this scheduler among its options. `sigmas`: it can space the noise
    levels as `settings.sigmas` says; `spacing`: it has a `timestep_spacing`."""

    name: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    sigmas: bool = False
    spacing: bool = False


@dataclass(frozen=True)
class Scheduler:
    """`aliases` are further names, in any case and punctuation; `classes` those of diffusers by kind."""

    name: str
    label: str
    aliases: tuple[str, ...]
    classes: Mapping[Kind, SchedulerClass]

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The kinds of prediction that it can be used with."""
        return tuple(each for kind in self.classes for each in PREDICTIONS[kind])


def _of(name: str, options: Mapping[str, Any] | None = None, *, plain: bool = False, spacing: bool = True) -> Any:
    """A class for diffusion; `plain`: without a choice of sigmas."""
    return SchedulerClass(name, options or {}, sigmas=not plain, spacing=spacing)


def _solver(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """One for flow that spaces its noise levels itself."""
    return SchedulerClass(name, options or {})


_MULTISTEP, _SINGLESTEP = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
_ODE, _SDE = {"algorithm_type": "dpmsolver++"}, {"algorithm_type": "sde-dpmsolver++"}

SCHEDULERS = (
    Scheduler(
        "euler",
        "Euler",
        ("k_euler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"),
        {
            "diffusion": _of("EulerDiscreteScheduler"),
            "flow": SchedulerClass("FlowMatchEulerDiscreteScheduler", sigmas=True),
        },
    ),
    Scheduler(
        "euler_a",
        "Euler a",
        ("euler_ancestral", "k_euler_a", "k_euler_ancestral", "EulerAncestralDiscreteScheduler"),
        {"diffusion": _of("EulerAncestralDiscreteScheduler", plain=True)},
    ),
    Scheduler(
        "heun",
        "Heun",
        ("k_heun", "HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
        {"diffusion": _of("HeunDiscreteScheduler"), "flow": _solver("FlowMatchHeunDiscreteScheduler")},
    ),
    Scheduler(
        "dpm2", "DPM2", ("kdpm_2", "k_dpm_2", "KDPM2DiscreteScheduler"), {"diffusion": _of("KDPM2DiscreteScheduler")}
    ),
    Scheduler(
        "dpm2_a",
        "DPM2 a",
        ("kdpm_2_a", "k_dpm_2_a", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
        {"diffusion": _of("KDPM2AncestralDiscreteScheduler")},
    ),
    Scheduler("lms", "LMS", ("k_lms", "LMSDiscreteScheduler"), {"diffusion": _of("LMSDiscreteScheduler")}),
    Scheduler("ddim", "DDIM", ("DDIMScheduler",), {"diffusion": _of("DDIMScheduler", plain=True)}),
    Scheduler("ddpm", "DDPM", ("DDPMScheduler",), {"diffusion": _of("DDPMScheduler", plain=True)}),
    Scheduler(
        "pndm", "PLMS", ("PNDMScheduler",), {"diffusion": _of("PNDMScheduler", {"skip_prk_steps": True}, plain=True)}
    ),
    Scheduler(
        "dpmpp_2m",
        "DPM++ 2M",
        ("k_dpmpp_2m", "dpmsolver++", _MULTISTEP),
        {
            "diffusion": _of(_MULTISTEP, _ODE | {"solver_order": 2}),
            "flow": _solver(_MULTISTEP, _ODE | {"solver_order": 2}),
        },
    ),
    Scheduler(
        "dpmpp_2m_sde",
        "DPM++ 2M SDE",
        ("k_dpmpp_2m_sde",),
        {
            "diffusion": _of(_MULTISTEP, _SDE | {"solver_order": 2}),
            "flow": _solver(_MULTISTEP, _SDE | {"solver_order": 2}),
        },
    ),
    Scheduler("dpmpp_3m", "DPM++ 3M", ("k_dpmpp_3m",), {"diffusion": _of(_MULTISTEP, _ODE | {"solver_order": 3})}),
    Scheduler(
        "dpmpp_3m_sde",
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        {"diffusion": _of(_MULTISTEP, _SDE | {"solver_order": 3})},
    ),
    Scheduler(
        "dpmpp_2s",
        "DPM++ 2S",
        ("k_dpmpp_2s", _SINGLESTEP),
        {
            "diffusion": _of(_SINGLESTEP, _ODE | {"solver_order": 2}, spacing=False),
            "flow": _solver(_SINGLESTEP, _ODE | {"solver_order": 2}),
        },
    ),
    Scheduler(
        "dpmpp_sde",
        "DPM++ SDE",
        ("k_dpmpp_sde", "DPMSolverSDEScheduler"),
        {"diffusion": _of(_SINGLESTEP, _SDE | {"solver_order": 2}, spacing=False)},
    ),
    Scheduler(
        "deis",
        "DEIS",
        ("DEISMultistepScheduler",),
        {"diffusion": _of("DEISMultistepScheduler"), "flow": _solver("DEISMultistepScheduler")},
    ),
    Scheduler(
        "unipc",
        "UniPC",
        ("uni_pc", "UniPCMultistepScheduler"),
        {"diffusion": _of("UniPCMultistepScheduler"), "flow": _solver("UniPCMultistepScheduler")},
    ),
    Scheduler(
        "lcm",
        "LCM",
        ("LCMScheduler", "FlowMatchLCMScheduler"),
        {"diffusion": _of("LCMScheduler", plain=True), "flow": SchedulerClass("FlowMatchLCMScheduler", sigmas=True)},
    ),
    Scheduler("tcd", "TCD", ("TCDScheduler",), {"diffusion": _of("TCDScheduler", plain=True)}),
)
BY_NAME: Mapping[str, Scheduler] = MappingProxyType({each.name: each for each in SCHEDULERS})
DIFFUSION_SCHEDULERS = tuple(each.name for each in SCHEDULERS if "diffusion" in each.classes)
FLOW_SCHEDULERS = tuple(each.name for each in SCHEDULERS if "flow" in each.classes)
# Those whose class takes neither a shift that depends on the size nor noise levels that the pipeline has chosen.
PLAIN_FLOW_ONLY = ("heun",)
