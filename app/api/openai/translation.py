"""From OpenAI's words to a GenerationInput, and how the answer is to be presented."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.api.http.problems import refuse
from app.api.openai.bodies import Drawing, EditsBody, Linked, Picture, Presented, VariationsBody, size_of
from app.core.catalog import ModelSpec, StepRule
from app.core.field_aliases import SETTING_ALIASES
from app.core.picture_formats import PictureFormat
from app.core.request import GenerationInput, GenerationSettings
from app.core.sizes import nearest_size
from app.errors import FieldError, InvalidImage, InvalidRequest, UnsupportedTask

VARIATION_PROMPT = "a variation of the picture"
_SETTINGS = frozenset(GenerationSettings.model_fields) | frozenset(SETTING_ALIASES)
_OWN_SETTINGS = ("seed", "num_inference_steps", "guidance_scale", "strength")
_WITHOUT_EFFECT = frozenset({"moderation", "timeout"})  # there is nothing to tell about them
_ANSWERED_QUALITY = {"auto": "medium", "standard": "medium", "hd": "high"}


@dataclass(frozen=True)
class Presentation:
    """How the pictures of an answer are presented. `warnings` are the façade's own, besides the job's."""

    response_format: str | None = None
    output_format: PictureFormat = "png"
    compression: int = 100
    quality: str = "medium"
    safety_identifier: str | None = None
    partial_images: int = 0
    warnings: tuple[str, ...] = ()


def presentation_of(body: Drawing, warnings: Sequence[str]) -> Presentation:
    """Of a valid request."""
    if not isinstance(body, Presented):
        return Presentation(body.response_format, warnings=tuple(warnings))
    return Presentation(
        body.response_format,
        body.output_format,
        body.output_compression,
        _ANSWERED_QUALITY.get(body.quality, body.quality),
        body.safety_identifier or body.user,
        body.partial_images,
        tuple(warnings),
    )


def translated(body: Drawing, prompt: str, spec: ModelSpec) -> tuple[GenerationInput, list[str]]:
    """The request for `spec`, and warnings about what it does not do. Raises InvalidRequest."""
    _check_media(spec)
    known, warnings = _settings(body)
    if wanted := size_of(body.size):
        known["width"], known["height"] = nearest_size(wanted, spec)
        if (known["width"], known["height"]) != wanted:
            drawn = f"{known['width']}x{known['height']}"
            warnings.append(f"{spec.id} cannot draw {body.size}; {drawn} is the nearest size that it can.")
    if isinstance(body, Presented):
        warnings += _unmet(body)
        if not {"num_inference_steps", "steps", "sampling_steps"} & known.keys():
            known |= _steps(body.quality, spec.steps)
    try:
        settings = GenerationSettings.model_validate(known)
        asked = GenerationInput(
            prompt=prompt,
            negative_prompt=body.negative_prompt,
            model_id=spec.id,
            settings=settings,
            inputs=tuple(_inputs(body)),
        )
    except ValidationError as error:
        refuse(error)
    return asked, warnings


def _check_media(spec: ModelSpec) -> None:
    if spec.media != "image":
        message = f"{spec.id} makes videos, and here the answer is a picture; send it to /api/generate"
        raise UnsupportedTask(f"{message}.", errors=[FieldError("model_id", message)])


_MOST_WARNINGS = 20


def _settings(body: Drawing) -> tuple[dict[str, Any], list[str]]:
    """Those that were sent, by name, with warnings for fields that are none."""
    known: dict[str, Any] = {"num_images": body.n}
    known |= {name: value for name in _OWN_SETTINGS if (value := getattr(body, name)) is not None}
    warnings: list[str] = []
    for name, value in body.extras.items():
        if name in _SETTINGS:
            known[name] = _value(value)
        elif name not in _WITHOUT_EFFECT and len(warnings) < _MOST_WARNINGS:
            warnings.append(f"{name[:60]} is not known here; it was not used.")
    return known, warnings


def _value(value: Any) -> Any:
    """A setting as JSON: forms have all as text."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(value) if isinstance(value, str) else value
    return value


def _unmet(body: Presented) -> Iterator[str]:
    if body.background == "transparent":
        yield "background: pictures are opaque here; transparent was not used."
    if body.response_format == "url" and body.output_format != "png" and not body.stream:
        yield f"output_format: a URL leads to the stored PNG; {body.output_format} was not used."


def _steps(quality: str, rule: StepRule) -> Mapping[str, int]:
    """Denoising steps for `quality`; none where the model's default is meant or its number is fixed."""
    if rule.fixed is not None or quality in ("auto", "medium", "standard"):
        return {}
    return {"num_inference_steps": rule.min if quality == "low" else rule.max}


def _inputs(body: Drawing) -> Iterator[dict[str, str]]:
    """Its pictures by role: the first is drawn over or edited, further ones are references."""
    if isinstance(body, VariationsBody):
        yield {"role": "image", "source": _source(body.image)}
    if not isinstance(body, EditsBody):
        return
    single = body.image if isinstance(body.image, list) else [] if body.image is None else [body.image]
    pictures = [*single, *(body.images or ())]
    if not pictures:
        message = "is required: the picture to edit"
        raise InvalidImage(f"image {message}.", errors=[FieldError("image", message)])
    for number, picture in enumerate(pictures):
        yield {"role": "reference" if number else "image", "source": _source(picture)}
    if body.mask is not None:
        yield {"role": "mask", "source": _source(body.mask), "channel": "alpha"}


def _source(picture: Picture) -> str:
    return picture.image_url if isinstance(picture, Linked) else picture


@contextlib.contextmanager
def own_names(sent: Drawing) -> Iterator[None]:
    """Complaints name fields as they were sent: `n`, not `settings.num_images`."""
    try:
        yield
    except InvalidRequest as error:
        if not error.errors:
            raise
        words = {"num_images": "n", "num_inference_steps": "steps" if "steps" in sent.extras else "num_inference_steps"}
        wrong = [FieldError(_renamed(one.field, words), one.message) for one in error.errors]
        raise type(error)("; ".join(f"{one.field}: {one.message}" for one in wrong), errors=wrong) from None


def _renamed(field: str, words: Mapping[str, str]) -> str:
    name = field.removeprefix("settings.")
    return words.get(name, name)
