"""From AUTOMATIC1111's words to a GenerationInput. What cannot be done is brought within bounds or left out, and noted:
its clients send all fields with their defaults, whatever the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from app.api.a1111.bodies import Img2ImgRequest, Txt2ImgRequest
from app.api.a1111.controlnet import control_inputs, is_controlnet
from app.api.a1111.optional_settings import CLIP_SKIP, OF_MASKS, optional_settings
from app.api.a1111.prompts import parse_loras
from app.api.a1111.samplers import chosen
from app.api.a1111.second_pass import second_pass
from app.api.http.problems import refuse
from app.core.catalog import ModelSpec
from app.core.request import GenerationInput, GenerationSettings
from app.core.sizes import nearest_size
from app.errors import FieldError, InvalidImage, UnsupportedTask
from app.services.context import AppContext
from app.services.models import loras

_SCRIPTS = "alwayson_scripts"
CHECKPOINT = "sd_model_checkpoint"
_MOST_NOTES = 20  # on members that are not known
# Members and values that ask for nothing: clients send them always.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("subseed", "seed_resize_from_h", "seed_resize_from_w"), (-1, 0)),
    **dict.fromkeys(("eta", "s_noise"), (0, 1)),
    "scheduler": ("Automatic", "automatic"),
    "save_images": (True, False),
    "override_settings_restore_afterwards": (True, False),
    "do_not_save_samples": (True, False),
    "do_not_save_grid": (True, False),
    "include_init_images": (True, False),
    "image_cfg_scale": (1.5,),
    "initial_noise_multiplier": (1.0,),
    "resize_mode": (0, 1),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
}
_NEUTRAL_OPTIONS = (("sd_vae", "Automatic"), ("sd_vae", "None"))
_OF_HIGHRES = frozenset(("hr_scheduler", "hr_sampler_name", "hr_checkpoint_name", "hr_prompt", "hr_negative_prompt"))


@dataclass(frozen=True)
class Translated:
    """`sampler` is the name that was asked for, None for the model's own. `optional` are the settings that may be left
    out where the model does not take them."""

    asked: GenerationInput
    notes: tuple[str, ...]
    sampler: str | None
    optional: frozenset[str]

    def without(self, refused: Collection[str]) -> Translated | None:
        """Without the settings `refused`; None if they are not all optional."""
        if not refused or not self.optional.issuperset(refused):
            return None
        kept = {name: value for name, value in self.asked.settings if name not in refused}
        sent = {name: value for name, value in kept.items() if name in self.asked.settings.model_fields_set}
        settings = GenerationSettings.model_validate(sent)
        notes = (f"{name} was not used: it does not fit this model." for name in sorted(refused))
        return replace(
            self,
            asked=self.asked.model_copy(update={"settings": settings}),
            notes=(*self.notes, *notes),
            optional=self.optional.difference(refused),
        )


def translated(context: AppContext, body: Txt2ImgRequest, spec: ModelSpec) -> Translated:
    """The request for `spec`. Raises InvalidRequest."""
    _check_media(spec)
    parsed = parse_loras(body.prompt, [known.id for known in loras.listing(context)])
    notes = [*parsed.notes, *islice(_unused(body), _MOST_NOTES)]
    known = _settings(body, spec, notes)
    known["loras"] = tuple({"id": name, "scale": scale} for name, scale in parsed.loras.items())
    optional = optional_settings(body, notes)
    known |= optional | second_pass(body, spec, known, notes)
    try:
        asked = GenerationInput(
            prompt=parsed.prompt,
            negative_prompt=body.negative_prompt or None,
            model_id=spec.id,
            settings=GenerationSettings.model_validate(known),
            inputs=(*_inputs(body, notes), *control_inputs(body.extras.get(_SCRIPTS), context.catalog, notes)),
        )
    except ValidationError as error:
        refuse(error)
    sampler = chosen(body.sampler_name, body.scheduler)
    return Translated(asked, tuple(notes), sampler, frozenset((*optional, "upscale")))


def _check_media(spec: ModelSpec) -> None:
    if spec.media != "image":
        message = f"{spec.id} makes videos, and here the answer is a picture; send it to /api/generate"
        raise UnsupportedTask(f"{message}.", errors=[FieldError(CHECKPOINT, message)])


def _settings(body: Txt2ImgRequest, spec: ModelSpec, notes: list[str]) -> dict[str, Any]:
    limits = spec.limits
    most_steps = limits.max_steps or max(spec.steps.max, 100)
    known: dict[str, Any] = {"seed": max(body.seed, -1), "num_images": body.batch_size * body.n_iter}
    if body.steps is not None and spec.steps.fixed is None:
        known["num_inference_steps"] = _within("steps", body.steps, 1, most_steps, notes)
    if body.cfg_scale is not None:
        least, most = limits.min_guidance_scale, limits.max_guidance_scale
        known["guidance_scale"] = _within("cfg_scale", body.cfg_scale, least, most, notes)
    if isinstance(body, Img2ImgRequest) and body.denoising_strength is not None:
        known["strength"] = _within("denoising_strength", body.denoising_strength, 0.0, 1.0, notes)
    if isinstance(body, Img2ImgRequest) and body.mask and body.inpainting_mask_invert:
        known["mask_invert"] = True
    return known | _size(body, spec, notes)


def _size(body: Txt2ImgRequest, spec: ModelSpec, notes: list[str]) -> dict[str, int]:
    """Of a request that names both sides, or one and the model has the other."""
    width, height = body.width or spec.defaults.width, body.height or spec.defaults.height
    if (body.width is None and body.height is None) or width is None or height is None:
        return {}
    drawn = nearest_size((width, height), spec)
    if drawn != (width, height):
        notes.append(f"{spec.id} cannot draw {width}x{height}; {drawn[0]}x{drawn[1]} is the nearest size that it can.")
    return {"width": drawn[0], "height": drawn[1]}


def _within(name: str, value: Any, least: Any, most: Any, notes: list[str]) -> Any:
    if least <= value <= most:
        return value
    notes.append(f"{name}: {value:g} was brought within {least:g} and {most:g}.")
    return min(max(value, least), most)


def _inputs(body: Txt2ImgRequest, notes: list[str]) -> Iterator[dict[str, str]]:
    if not isinstance(body, Img2ImgRequest):
        return
    if not body.init_images:
        message = "is required: the picture to start from"
        raise InvalidImage(f"init_images {message}.", errors=[FieldError("init_images", message)])
    yield {"role": "image", "source": body.init_images[0]}
    if len(body.init_images) > 1:
        notes.append("init_images: only the first picture was used.")
    if body.mask:
        yield {"role": "mask", "source": body.mask}


def _unused(body: Txt2ImgRequest) -> Iterator[str]:
    """Notes on members that ask for something that is not done."""
    extras = {name: value for name, value in body.extras.items() if name not in OF_MASKS}
    for name, value in extras.items():
        if name == _SCRIPTS:
            yield from _unused_scripts(value)
        elif name in _OF_HIGHRES and not body.enable_hr:
            continue
        elif value and value not in _NEUTRAL.get(name, ()):
            yield f"{name[:60]} was not used."
    for name, value in body.override_settings.items():
        if name not in (CHECKPOINT, CLIP_SKIP) and value and (name, value) not in _NEUTRAL_OPTIONS:
            yield f"override_settings.{name[:60]} was not used."


def _unused_scripts(scripts: Any) -> Iterator[str]:
    for name, script in scripts.items() if isinstance(scripts, dict) else ():
        arguments = script.get("args") if isinstance(script, dict) else script
        if arguments and arguments != [False] and not is_controlnet(str(name)):
            yield f"alwayson_scripts.{str(name)[:60]} was not used."
