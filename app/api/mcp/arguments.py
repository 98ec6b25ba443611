"""Arguments of the tools. Their schemas are what an assistant chooses by, so descriptions say when to set what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.core.catalog import Media
from app.core.field_aliases import REQUEST_ALIASES, SETTING_ALIASES
from app.core.generation_settings import MOST_LORAS, RANDOM_SEED, SEED_MAX, LoraChoice
from app.core.inputs import MOST_INPUTS
from app.core.json_values import AliasedBody, FiniteFloat, Integer
from app.core.request import GenerationInput
from app.core.webhooks import URL_MAX_CHARS

MOST_WAIT_SECONDS = 600
USUAL_WAIT_SECONDS = 50  # programs that use tools often give up after 60
_PICTURE = "An `image_id` of this server, a public http(s) URL, or base64."


def _in_hex(text: Any) -> Any:
    return text.strip().lower() if isinstance(text, str) else text


Id = Annotated[str, BeforeValidator(_in_hex), Field(min_length=1, max_length=64)]


class Arguments(AliasedBody):
    """Lax about types: assistants write numbers as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())


class Waiting(Arguments):
    wait_seconds: FiniteFloat = Field(
        default=USUAL_WAIT_SECONDS,
        ge=0,
        le=MOST_WAIT_SECONDS,
        description="How long to wait for the result, at most. Past that the answer has a job_id to ask get_generation"
        " for; the work goes on. 0 answers at once.",
    )


class _Drawing(Waiting):
    ALIASES = {**REQUEST_ALIASES, **SETTING_ALIASES}

    prompt: str = Field(description="What to draw: subject, setting, style, light. English works best.")
    model_id: str | None = Field(
        default=None, max_length=200, description="An `id` of list_models. Leave it out for the server's default."
    )
    negative_prompt: str | None = Field(
        default=None, description="What to avoid. Only for models whose negative_prompt is true."
    )
    num_inference_steps: Integer | None = Field(
        default=None, description="Denoising steps. Leave it out: each model has a good default."
    )
    guidance_scale: FiniteFloat | None = Field(
        default=None, description="How closely the prompt is followed. Leave it out: each model has a good default."
    )
    width: Integer | None = Field(default=None, description="In pixels. Leave out width and height for the usual size.")
    height: Integer | None = Field(default=None, description="In pixels.")
    seed: Integer | None = Field(
        default=None,
        ge=RANDOM_SEED,
        le=SEED_MAX,
        description="Set it to make a picture again, or to vary its prompt alone; leave it out for a new one.",
    )
    loras: tuple[LoraChoice, ...] = Field(
        default=(), max_length=MOST_LORAS, description="LoRAs to apply; only when the user names one."
    )


class GenerateImage(_Drawing):
    num_images: Integer = Field(default=1, ge=1, le=8, description="How many variants to draw.")


class EditImage(_Drawing):
    prompt: str = Field(description="The change to make, or for a repainted part what is to be there.")
    image: str = Field(description=f"The picture to start from. {_PICTURE}")
    mask: str | None = Field(
        default=None, description=f"Repaint only what is white in this picture of the same size. {_PICTURE}"
    )
    strength: FiniteFloat | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How much to change, for models without the task edit: 0.3 keeps most, 0.8 little.",
    )
    references: tuple[str, ...] = Field(
        default=(), max_length=MOST_INPUTS - 2, description=f"Further pictures for models that edit several. {_PICTURE}"
    )
    num_images: Integer = Field(default=1, ge=1, le=8, description="How many variants to draw.")


class UpscaleImage(Waiting):
    ALIASES = {"image_id": "image", "scale": "factor"}

    image: str = Field(description=f"The picture to enlarge. {_PICTURE}")
    factor: Literal[2, 4] = Field(default=2, description="How many times wider and higher.")
    model: str | None = Field(
        default=None, min_length=1, max_length=300, description="An upscaler. Leave it out for the server's own."
    )


class MakeVideo(_Drawing):
    prompt: str = Field(description="What happens in the video: subject, motion, camera.")
    image: str | None = Field(default=None, description=f"The first frame, for models with img2video. {_PICTURE}")
    num_frames: Integer | None = Field(default=None, ge=1, description="Its length in frames. Leave it out at first.")
    fps: Integer | None = Field(default=None, ge=1, description="Frames per second. Leave it out at first.")


class SubmitGeneration(Arguments):
    ALIASES = REQUEST_ALIASES

    prompt: str = Field(description="What to draw.")
    model_id: str | None = Field(default=None, max_length=200, description="An `id` of list_models.")
    negative_prompt: str | None = Field(default=None, description="What to avoid.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Any of num_inference_steps, guidance_scale, width, height, seed, num_images, strength, num_frames,"
        " fps, loras, scheduler and further ones of the server's documentation (/docs).",
    )
    image: str | None = Field(default=None, description=f"A picture to start from. {_PICTURE}")
    mask: str | None = Field(default=None, description=f"With an image: repaint what is white. {_PICTURE}")
    webhook_url: str | None = Field(
        default=None,
        max_length=URL_MAX_CHARS,
        description="Gets a signed POST when it has ended; only if the user asks.",
    )


class GetGeneration(Arguments):
    job_id: Id = Field(description="What generate_image, make_video or submit_generation answered.")
    wait_seconds: FiniteFloat = Field(
        default=0, ge=0, le=MOST_WAIT_SECONDS, description="Wait so long for its end, at most; 0 answers at once."
    )


class BatchAxis(Arguments):
    field: str = Field(description="What changes, such as `settings.guidance_scale`, `settings.scheduler`, `model_id`.")
    values: list[Any] = Field(min_length=1, max_length=200, description="The values that it takes.")


class SubmitBatch(Arguments):
    ALIASES = REQUEST_ALIASES

    prompt: str = Field(description="What to draw. {red|green} stands for both; {2$$a|b|c} for every two of them.")
    axes: list[BatchAxis] | None = Field(
        default=None, max_length=4, description="Fields that change: every value with every other."
    )
    seeds: Integer | None = Field(default=None, ge=1, le=200, description="How many seeds for each; 1 if left out.")
    model_id: str | None = Field(default=None, max_length=200, description="An `id` of list_models.")
    negative_prompt: str | None = Field(default=None, description="What to avoid.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Of all jobs, as in submit_generation: width, height, seed and so on."
    )
    name: str | None = Field(default=None, min_length=1, max_length=200, description="What to call the batch.")


class GetBatch(Arguments):
    batch_id: Id = Field(description="What submit_batch answered.")
    offset: Integer = Field(default=0, ge=0, le=10**6, description="The first place to show; 50 are shown at a time.")


class CancelGeneration(Arguments):
    job_id: Id = Field(description="Of a generation that is PENDING or PROCESSING.")


class ListModels(Arguments):
    task: Literal["txt2img", "img2img", "inpaint", "edit", "txt2video", "img2video"] | None = Field(
        default=None, description="Only models that can do this."
    )
    include_unavailable: bool = Field(
        default=False, description="Also models whose files would have to be downloaded first."
    )


class SearchGallery(Arguments):
    search: str | None = Field(
        default=None, max_length=500, description="Words that are all in the prompt, in any order and case."
    )
    model_id: str | None = Field(default=None, max_length=200, description="Only of this model.")
    media: Media | None = Field(default=None, description="Only pictures, or only videos.")
    limit: Integer = Field(default=10, ge=1, le=50, description="How many.")
    cursor: str | None = Field(default=None, max_length=200, description="next_cursor of the page before.")


_BESIDE_SETTINGS = ("prompt", "negative_prompt", "model_id", "image", "mask")
_OWN = ("wait_seconds", "references", "webhook_url")


def input_of(sent: BaseModel, model_id: str) -> GenerationInput:
    """The request for a model that `sent` asks for. Raises ValidationError."""
    given = {name: value for name in type(sent).model_fields if (value := getattr(sent, name)) not in (None, ())}
    settings = given.pop("settings", {})
    references = given.get("references", ())
    settings = settings | {n: v for n, v in given.items() if n not in (*_BESIDE_SETTINGS, *_OWN)}
    beside = {name: value for name, value in given.items() if name in _BESIDE_SETTINGS}
    inputs = [{"role": "reference", "source": source} for source in references]
    return GenerationInput.model_validate({**beside, "model_id": model_id, "settings": settings, "inputs": inputs})
