"""Control pictures and references of a request: the pipeline that takes them, and what it is called with.

Nothing of it stays: pipelines with a ControlNet or an adapter are made for one job over the model's own parts, and what
an adapter replaced in the denoiser is put back. The next job draws the same bytes as without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np
from PIL import Image

from app.core.auxiliaries import NetShape, modes_of, width_problem
from app.core.control_inputs import USUAL_WEIGHT
from app.core.families import controls
from app.core.inputs import InputRef
from app.core.request import GenerationRequest
from app.core.tasks import Task
from app.engines.base import Inputs, Pixels
from app.engines.diffusers.generate.detectors import processed
from app.engines.diffusers.generate.references import adapted, redux_embeddings
from app.engines.diffusers.generate.repaint import Repaint, repaint_of
from app.engines.diffusers.generate.task_pipelines import pipeline_for, pipeline_over
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import InputModelIncompatible, UnsupportedTask

Auxiliaries = Mapping[str, LoadedModel]
NO_AUXILIARIES: Auxiliaries = {}
_SHARED_WITH_TRANSFORMER = (  # of the model, in a ControlNet of Z-Image
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder"),
    *("noise_refiner", "context_refiner", "x_pad_token", "cap_pad_token"),
)


@dataclass(frozen=True)
class Conditioning:
    """`pipeline` draws with `repaint`'s inputs and `arguments` beside its usual ones. `prompts` replaces the prompts of
    a call by their embeddings with those of references. `effective` is for the manifest."""

    pipeline: Any
    repaint: Repaint
    arguments: Mapping[str, Any] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)
    redux: Sequence[tuple[LoadedModel, Pixels, float]] = ()

    @property
    def is_plain(self) -> bool:
        return not self.effective

    def with_references(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """`arguments` of a call whose prompt includes the references of FLUX Redux. In inference mode."""
        return redux_embeddings(self.pipeline, arguments, self.redux) if self.redux else arguments


@contextmanager
def conditioning_of(
    model: LoadedModel, task: Task, request: GenerationRequest, inputs: Inputs, auxiliaries: Auxiliaries
) -> Iterator[Conditioning]:
    """The conditioning of `request` within the block. Raises UnsupportedTask and InputModelIncompatible."""
    named = dict(zip(request.slots, request.pictures, strict=True))
    controlled = {slot: ref for slot, ref in named.items() if ref.role == "control"}
    referred = {slot: ref for slot, ref in named.items() if ref.role == "reference" and ref.model is not None}
    native = {slot: pixels for slot, pixels in inputs.items() if slot not in controlled and slot not in referred}
    repaint = repaint_of(native, request)
    own = controls.has_own_control(type(model.pipeline).__name__)
    if own and len(controlled) != 1:
        raise UnsupportedTask(f"{model.spec.id} needs one control picture: add it to inputs.")
    if not controlled and not referred:
        yield Conditioning(pipeline_for(model, task), repaint)
        return
    pictures = {
        slot: processed(ref.processor, _in_part(inputs[slot], repaint, request), auxiliaries)
        for slot, ref in controlled.items()
    }
    with ExitStack() as stack:
        pipeline, arguments = _controlled(model, task, controlled, pictures, auxiliaries, stack, own=own)
        adapters = [(auxiliaries[str(ref.model)], inputs[slot], _weight(ref)) for slot, ref in referred.items()]
        redux = [each for each in adapters if each[0].spec.options.kind == "redux"]
        if redux and len(redux) < len(adapters):
            raise InputModelIncompatible("A request has references by IP-Adapters or by Redux, not both.")
        if adapters and not redux:
            pipeline, images = stack.enter_context(adapted(model, pipeline, adapters))
            arguments = {**arguments, **images}
        described = [_described(ref, auxiliaries) for ref in (*controlled.values(), *referred.values())]
        yield Conditioning(pipeline, repaint, arguments, {"inputs_used": described}, redux)


def _weight(ref: InputRef) -> float:
    return USUAL_WEIGHT if ref.weight is None else ref.weight


def _described(ref: InputRef, auxiliaries: Auxiliaries) -> dict[str, Any]:
    """A control or reference for the manifest, with a fingerprint of the weights that it was used by."""
    known = ref.model and auxiliaries.get(ref.model)
    revision = {"revision": known.checkpoint.revision} if known else {}
    described = ref.model_dump(include={"role", "model", "processor", "mode", "start", "end"}, exclude_none=True)
    return described | {"weight": _weight(ref)} | revision


def _in_part(pixels: Pixels, repaint: Repaint, request: GenerationRequest) -> Pixels:
    """A control picture for what is drawn: of a masked area, the same part in the same size."""
    if repaint.box is None or request.width is None or request.height is None:
        return pixels
    cut = Image.fromarray(pixels).crop(repaint.box)
    return np.asarray(cut.resize((request.width, request.height), Image.Resampling.LANCZOS))


def _controlled(
    model: LoadedModel,
    task: Task,
    controlled: Mapping[str, InputRef],
    pictures: Mapping[str, Pixels],
    auxiliaries: Auxiliaries,
    stack: ExitStack,
    *,
    own: bool,
) -> tuple[Any, Mapping[str, Any]]:
    """The pipeline that takes the control pictures, and its arguments for them."""
    images = [Image.fromarray(pixels) for pixels in pictures.values()]
    if own or not controlled:
        return pipeline_for(model, task), ({"control_image": images[0]} if own else {})
    refs = list(controlled.values())
    nets = [auxiliaries[str(ref.model)].pipeline.controlnet for ref in refs]
    shapes = [auxiliaries[str(ref.model)].pipeline.shape for ref in refs]
    name = _pipeline_name(model, task, refs, shapes)
    if shapes[0].net_class == "ZImageControlNetModel":
        stack.enter_context(_shared_layers(model, nets[0]))
    pipeline = pipeline_over(model.pipeline, name, controlnet=_together(nets, shapes))
    picture = "image" if name in controls.CONTROL_IS_IMAGE else "control_image"
    return pipeline, {picture: _one_or_all(images), **_scales(model, refs, shapes)}


def _pipeline_name(model: LoadedModel, task: Task, refs: Sequence[InputRef], shapes: Sequence[NetShape]) -> str:
    """The class of the pipeline. What the API could not check before the files were here is checked now."""
    own_class = type(model.pipeline).__name__
    rules = controls.control_rules(own_class)
    denoiser = getattr(model.pipeline, "unet", None) or getattr(model.pipeline, "transformer", None)
    for ref, shape in zip(refs, shapes, strict=True):
        if rules is None or shape.net_class not in rules.pipelines or shape.net_class != shapes[0].net_class:
            raise InputModelIncompatible(f"{ref.model} is a {shape.net_class}; {model.spec.id} cannot be used with it.")
        if problem := width_problem(shape, denoiser.config if denoiser is not None else {}):
            raise InputModelIncompatible(f"{ref.model} does not fit {model.spec.id}: {problem}.")
    assert rules is not None  # there is a control picture
    name = controls.controlled_pipeline(own_class, shapes[0].net_class, task)
    if name is None or len(refs) > rules.most or (rules.one_net and len({ref.model for ref in refs}) > 1):
        able = " and ".join(rules.pipelines[shapes[0].net_class])
        raise UnsupportedTask(
            f"{model.spec.id} takes {rules.most} control picture{'s' if rules.most > 1 else ''} for {able}, not this."
        )
    return name


def _together(nets: Sequence[Any], shapes: Sequence[NetShape]) -> Any:
    """What a pipeline takes as its `controlnet`: one net, a union for all pictures, or several."""
    if len(nets) == 1:
        return nets[0]
    if shapes[0].net_class == "QwenImageControlNetModel":
        return diffusers.models.controlnets.controlnet_qwenimage.QwenImageMultiControlNetModel([nets[0]])
    same = all(net is nets[0] for net in nets)
    return nets[0] if same and shapes[0].net_class == "ControlNetUnionModel" else list(nets)


def _scales(model: LoadedModel, refs: Sequence[InputRef], shapes: Sequence[NetShape]) -> dict[str, Any]:
    found: dict[str, Any] = {"controlnet_conditioning_scale": _one_or_all([_weight(ref) for ref in refs])}
    rules = controls.control_rules(type(model.pipeline).__name__)
    if rules is not None and not rules.periods and any((ref.start, ref.end) != (None, None) for ref in refs):
        raise InputModelIncompatible(f"A ControlNet of {model.spec.id} works in all steps. Leave out start and end.")
    if rules is not None and rules.periods:
        found["control_guidance_start"] = _one_or_all([ref.start or 0.0 for ref in refs])
        found["control_guidance_end"] = _one_or_all([1.0 if ref.end is None else ref.end for ref in refs])
    modes = [_mode(ref, shape) for ref, shape in zip(refs, shapes, strict=True)]
    if any(mode is not None for mode in modes) or (len(refs) > 1 and shapes[0].net_class == "FluxControlNetModel"):
        found["control_mode"] = _one_or_all(modes)
    return found


def _mode(ref: InputRef, shape: NetShape) -> int | None:
    """The mode of a union ControlNet, None for another. Raises InputModelIncompatible if it has none of this name."""
    modes = modes_of(shape)
    if not shape.is_union:
        return None
    named = ref.mode or ref.processor or ""
    if named not in modes:
        raise InputModelIncompatible(
            f"{ref.model} must be told by mode what its control picture shows: {', '.join(modes)}."
        )
    return modes[named]


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


@contextmanager
def _shared_layers(model: LoadedModel, net: Any) -> Iterator[None]:
    """Take the layers that a pipeline shares with the model out of its ControlNet afterwards: they would stay in memory
    with it."""
    if model.load_plan.plan != "none":
        raise InputModelIncompatible(
            f"ControlNets of {model.spec.id} share its layers, which are offloaded ({model.load_plan.plan})."
            ' Set "offload": "none" in its MODEL_ line.'
        )
    before = {name: getattr(net, name, None) for name in _SHARED_WITH_TRANSFORMER}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(net, name, value)
