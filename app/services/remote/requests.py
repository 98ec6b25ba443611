"""Prepare requests in a provider's native input: validated by the model's schema before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.catalog import Media, ModelSpec
from app.core.gallery_references import GALLERY, is_image_id, references
from app.core.generation_settings import SEED_MAX
from app.core.inputs import InputRef
from app.core.model_schema import Checked, InputSchema
from app.core.provider_input import NAMES, first_frame_of
from app.core.request import GenerationRequest, RemoteCall, remote_spec
from app.core.tasks import TXT2IMG, Task, as_video
from app.errors import FieldError, Gone, ImageNotFound, InvalidRequest, NoSuchModel, UnknownModel
from app.services.context import AppContext
from app.services.media.input_images import usable_image
from app.services.remote.models import SOURCE, RemoteModels

PROMPT_MAX_CHARS = 10_000


@dataclass(frozen=True)
class Prepared:
    """A validated request. `prompts` are its prompt texts, by field."""

    request: GenerationRequest
    spec: ModelSpec
    prompts: Mapping[str, str]
    warnings: Sequence[str] = ()


def prepare_remote(
    context: AppContext,
    models: RemoteModels,
    media: Media,
    model: str,
    given: Mapping[str, Any],
    *,
    client_id: str,
    drawn_seed: int,
    source_image_id: str | None = None,
) -> Prepared:
    """Validate `given` for `model` (`owner/name`, optionally with `:version`). `source_image_id` is the gallery picture
    to start from, whatever the model's input for it is called. `drawn_seed` is the request's seed if it has none.

    Raises InvalidRequest with an error per field, UnknownModel, ProviderError or ModelUnavailable.
    """
    name, _, version = model.partition(":")
    try:
        models.check_offered(name, version)
        described = models.describe_as(media, name)
        models.check_version(described, version)
    except NoSuchModel as missing:
        raise UnknownModel(missing.detail, errors=[FieldError("model", missing.detail)]) from None
    schema = InputSchema(described.document)
    if source_image_id is not None:
        given = _with_source(context, schema, described.model, given, source_image_id, client_id)
    checked = schema.check(given)
    pictures, refused = _admitted(context, checked.input, client_id)
    problems = [*checked.errors, *_empty(schema, checked), *_unstorable(checked), *refused]
    if problems:
        raise InvalidRequest("; ".join(f"{p.field}: {p.message}" for p in problems), errors=problems)
    spec = remote_spec(context.catalog, SOURCE, described.model, media)
    begun = _start_picture(schema, checked.input)
    source = _source_ref(context, begun, client_id)
    warnings = [f"{described.model} has no input {name!r}; it was not used." for name in checked.unknown]
    call = RemoteCall(
        source=SOURCE,
        model=spec.repo,
        media=media,
        version=version or spec.options.revision,
        input=checked.input,
        pictures=pictures,
    )
    request = _request(spec, call, drawn_seed).model_copy(
        update={"task": _task(media, begun), "pictures": () if source is None else (source,)}
    )
    return Prepared(request, spec, _prompts(checked.input), warnings)


def _with_source(
    context: AppContext,
    schema: InputSchema,
    model: str,
    given: Mapping[str, Any],
    image_id: str,
    client_id: str,
) -> dict[str, Any]:
    """`given` with the picture in the model's input for it."""
    name = None if schema.is_open else first_frame_of(schema)
    if name is None:
        unsure = "does not publish its inputs; set the one for pictures in `input`"
        raise _bad_source(f"{model} {unsure if schema.is_open else 'has no input for a picture to start from'}.")
    if given.get(name) is not None:
        raise _bad_source(f"The picture is given twice: `input.{name}` is set too. Remove one of them.")
    try:
        picture = usable_image(context, image_id, client_id=client_id)
    except (ImageNotFound, Gone) as missing:
        raise _bad_source(missing.detail) from None
    if picture.media != "image":
        raise _bad_source("It is a video; only a picture can be an input.")
    return {**given, name: schema.as_field_value(name, image_id)}


def _start_picture(schema: InputSchema, input: Mapping[str, Any]) -> str | None:
    """The input's start picture: a gallery reference, a URL or a data URI."""
    name = None if schema.is_open else first_frame_of(schema)
    value = input.get(name) if name is not None else None
    found = value[0] if isinstance(value, list) and value else value
    return found if isinstance(found, str) and found else None


def _source_ref(context: AppContext, begun: str | None, client_id: str) -> InputRef | None:
    """The reference of a gallery picture. Its pixels are uploaded when the model runs."""
    if begun is None or not begun.startswith(GALLERY):
        return None
    picture = usable_image(context, begun.removeprefix(GALLERY), client_id=client_id)
    return InputRef(sha256=picture.sha256, width=picture.width, height=picture.height, image_id=picture.id)


def _task(media: Media, begun: str | None) -> Task:
    task: Task = TXT2IMG if begun is None else "img2img"
    return as_video(task) if media == "video" else task


def _bad_source(message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError("source_image_id", message)])


def _admitted(
    context: AppContext, input: Mapping[str, Any], client_id: str
) -> tuple[tuple[str, ...], list[FieldError]]:
    """The ids of gallery pictures anywhere in `input`, whatever the schema says of the field; and errors for those
    that do not exist or that `client_id` may not see."""
    admitted: dict[str, None] = {}
    refused: list[FieldError] = []
    for field, image_id in references(input):
        try:
            if not is_image_id(image_id):
                raise ImageNotFound("There is no image with this id.")
            usable_image(context, image_id, client_id=client_id)
            admitted[image_id] = None
        except (ImageNotFound, Gone) as missing:
            refused.append(FieldError(field, missing.detail))
    return tuple(admitted), refused


def with_admitted_pictures(context: AppContext, request: GenerationRequest, job_id: str) -> GenerationRequest:
    """`request` of a job from a version that did not store which pictures its owner may use: with these added."""
    call = request.remote
    if call is None or call.input is None or call.pictures is not None:
        return request
    pictures, _ = _admitted(context, call.input, context.jobs.get(job_id).client_id)
    return request.model_copy(update={"remote": call.model_copy(update={"pictures": pictures})})


def _request(spec: ModelSpec, call: RemoteCall, drawn_seed: int) -> GenerationRequest:
    """The call as a request: the inputs that have standard names, and all of it in the model's names."""
    input = call.input or {}

    def number(name: str, least: int) -> int | None:
        value = input.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    seed = number("seed", 0)
    negative = input.get("negative_prompt")
    return GenerationRequest(
        model_id=spec.id,
        prompt=str(input.get("prompt") or ""),
        negative_prompt=str(negative) if negative else None,
        num_inference_steps=number("num_inference_steps", 1) or 0,
        width=number("width", 1),
        height=number("height", 1),
        seed=seed if seed is not None and seed <= SEED_MAX else drawn_seed,
        num_images=next((count for name in NAMES["num_images"] if (count := number(name, 1))), 1),
        remote=call,
    )


def _prompts(input: Mapping[str, Any]) -> dict[str, str]:
    given = {name: input.get(name) for name in (*NAMES["prompt"], *NAMES["negative_prompt"])}
    return {name: text for name, text in given.items() if isinstance(text, str)}


def _empty(schema: InputSchema, checked: Checked) -> list[FieldError]:
    """Errors for required texts without a visible character: the provider would take them, and the money."""
    texts = {name: checked.input.get(name) for name in sorted(schema.required)}
    return [
        FieldError(f"input.{name}", "must not be empty")
        for name, text in texts.items()
        if isinstance(text, str) and not text.strip()
    ]


def _unstorable(checked: Checked) -> list[FieldError]:
    """Errors for text that databases cannot store, and for prompts that are too long for logs."""
    long = [
        FieldError(f"input.{name}", f"has {len(text)} characters; at most {PROMPT_MAX_CHARS} are allowed")
        for name, text in _prompts(checked.input).items()
        if len(text) > PROMPT_MAX_CHARS
    ]
    return long + [
        FieldError(f"input.{name}", "holds a character that cannot be stored")
        for name, value in checked.input.items()
        if isinstance(value, str) and any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in value)
    ]
