"""References by adapters: IP-Adapters, whose attention is added to the denoiser's, and FLUX Redux, which makes pictures
part of the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
from PIL import Image

from app.core.families import controls
from app.core.faults import is_beyond_the_job
from app.engines.base import Pixels
from app.engines.diffusers.generate.task_pipelines import pipeline_over
from app.engines.diffusers.load.errors import LOAD_ERRORS, first_line
from app.engines.diffusers.memory.loaded import LoadedModel
from app.errors import InputModelIncompatible

Reference = tuple[LoadedModel, Pixels, float]  # the adapter, the picture and its weight
_FLUX_NAMES = (
    ("ip_adapter_double_stream_k_proj", "to_k_ip"),
    ("ip_adapter_double_stream_v_proj", "to_v_ip"),
    ("processor.", ""),
)
_PROJECTIONS = ("ip_adapter_proj_model.", "image_proj.")
_ATTENTION = ("double_blocks.", "ip_adapter.")


@contextmanager
def adapted(
    model: LoadedModel, pipeline: Any, references: Sequence[Reference]
) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """A pipeline like `pipeline` whose denoiser has the IP-Adapters, within the block, and its arguments for the
    pictures. Raises InputModelIncompatible."""
    family = _check(model, references)
    first = references[0][0].pipeline
    own = pipeline_over(
        pipeline,
        type(pipeline).__name__,
        image_encoder=first.image_encoder,
        feature_extractor=first.feature_extractor,
        **({"controlnet": pipeline.controlnet} if "controlnet" in pipeline.components else {}),
    )
    denoiser = own.unet if hasattr(own, "unet") else own.transformer
    weights = [_tensors(adapter, family) for adapter, _, _ in references]
    images = [Image.fromarray(pixels) for _, pixels, _ in references]
    with _restored(denoiser):
        try:
            denoiser._load_ip_adapter_weights(weights[0] if family == "sd3" else weights)
            own.set_ip_adapter_scale(references[0][2] if family == "sd3" else [weight for _, _, weight in references])
        except LOAD_ERRORS as error:
            if is_beyond_the_job(error):
                raise
            named = " and ".join(dict.fromkeys(adapter.spec.id for adapter, _, _ in references))
            raise InputModelIncompatible(f"{named} does not fit {model.spec.id}: {first_line(error)}.") from error
        if any(weight.is_meta for weight in denoiser.parameters()):
            raise InputModelIncompatible(f"{references[0][0].spec.id} lacks tensors that an IP-Adapter has.")
        yield own, {"ip_adapter_image": images[0] if family == "sd3" else images}


def _check(model: LoadedModel, references: Sequence[Reference]) -> str:
    """The architecture of the adapters."""
    family = controls.ip_adapter_family(type(model.pipeline).__name__)
    for adapter, _, _ in references:
        if family is None or adapter.spec.options.family != family:
            raise InputModelIncompatible(
                f"{adapter.spec.id} is for {adapter.spec.options.family}, not for {model.spec.id}."
            )
    assert family is not None  # there is a reference
    if family == "sd3" and len(references) > 1:
        raise InputModelIncompatible(f"{model.spec.id} takes one reference by an IP-Adapter, not {len(references)}.")
    if len({adapter.pipeline.encoder for adapter, _, _ in references}) > 1:
        raise InputModelIncompatible("The IP-Adapters of one request must have the same image_encoder.")
    plan = model.load_plan
    if not plan.whole_parts or plan.compression.quantized:
        how = f"offloaded ({plan.plan})" if not plan.whole_parts else "quantised"
        raise InputModelIncompatible(f"{model.spec.id} is {how}, and then takes no IP-Adapters. Choose another model.")
    return family


@contextmanager
def _restored(denoiser: Any) -> Iterator[None]:
    """Put back afterwards what an IP-Adapter replaces: attention processors and projections."""
    processors = dict(denoiser.attn_processors)
    modules = {name: getattr(denoiser, name) for name in ("encoder_hid_proj", "image_proj") if hasattr(denoiser, name)}
    kind = getattr(denoiser.config, "encoder_hid_dim_type", None)
    try:
        yield
    finally:
        for name in ("encoder_hid_proj", "image_proj"):  # first: the latter has attention of its own
            if name in modules:
                setattr(denoiser, name, modules[name])
            elif hasattr(denoiser, name):
                delattr(denoiser, name)
        denoiser.set_attn_processor(processors)
        denoiser.config.encoder_hid_dim_type = kind


def _tensors(adapter: LoadedModel, family: str) -> dict[str, dict[str, torch.Tensor]]:
    """The adapter's tensors as diffusers reads them from a file: those of the projection, and of the attention."""
    found: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, tensor in adapter.pipeline.adapter.tensors().items():
        rest = key.partition(".")[2]
        if key.startswith(_PROJECTIONS):
            found["image_proj"][rest] = tensor
        elif key.startswith(_ATTENTION):
            for theirs, ours in _FLUX_NAMES if family == "flux" else ():
                rest = rest.replace(theirs, ours)
            found["ip_adapter"][rest] = tensor
    return found


def redux_embeddings(pipeline: Any, arguments: Mapping[str, Any], references: Sequence[Reference]) -> Mapping[str, Any]:
    """`arguments` whose prompt is replaced by embeddings of it and of the pictures, each with its weight."""
    parts = references[0][0].pipeline
    prior = diffusers.FluxPriorReduxPipeline(
        image_encoder=parts.image_encoder,
        feature_extractor=parts.feature_extractor,
        image_embedder=parts.image_embedder,
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
        text_encoder_2=pipeline.text_encoder_2,
        tokenizer_2=pipeline.tokenizer_2,
    )
    images = [Image.fromarray(pixels) for _, pixels, _ in references]
    weights = [weight for _, _, weight in references]
    second = arguments.get("prompt_2")
    made = prior(
        images,
        prompt=[arguments["prompt"]] * len(images),
        prompt_2=None if second is None else [second] * len(images),
        prompt_embeds_scale=weights,
        pooled_prompt_embeds_scale=weights,
    )
    kept = {name: value for name, value in arguments.items() if name not in ("prompt", "prompt_2")}
    return {**kept, "prompt_embeds": made.prompt_embeds, "pooled_prompt_embeds": made.pooled_prompt_embeds}
