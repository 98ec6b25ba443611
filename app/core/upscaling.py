"""Rules of enlarging: a picture by an upscaler, and the second pass of a generation, which enlarges and draws over."""

from __future__ import annotations

from math import ceil, sqrt

from pydantic import BaseModel, ConfigDict, Field

from app.core.builtin_models import BUILTIN_UPSCALER_ID, LANCZOS_REPO
from app.core.catalog import STEPS_MAX, Catalog, ModelSpec
from app.core.json_values import Body, FiniteFloat, Integer
from app.core.latent_modes import latent_mode
from app.core.tasks import TXT2IMG, Task, steps_run
from app.core.tiling import tiles_over
from app.errors import FieldError

Size = tuple[int, int]

FACTORS = (2, 4)  # of a picture that exists
MOST_FACTOR = 4
SECOND_STRENGTH = 0.5  # keeps the composition, and draws detail that the first size has no room for
TILED_STRENGTH = 0.3  # each tile has the whole prompt: more would draw all of it into each
_FIELD = "settings.upscale"


class UpscaleChoice(Body):
    """A second pass, as clients ask for it."""

    factor: FiniteFloat = Field(gt=1, le=MOST_FACTOR, description="How many times wider and higher.")
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="An upscaler of `GET /api/upscalers`, or one of its `latent_modes`; absent: the first of the"
        " installation, `drawings-x2` for the built-in models, else `lanczos`.",
    )
    steps: Integer | None = Field(
        default=None, ge=1, le=1000, description="Denoising steps of the second pass; absent: as in the first."
    )
    strength: FiniteFloat | None = Field(
        default=None,
        ge=0,
        le=1,
        description=f"How much it changes the enlarged picture; {SECOND_STRENGTH}, or {TILED_STRENGTH} in tiles.",
    )
    tile: Integer | None = Field(
        default=None,
        ge=64,
        le=4096,
        description="Draw over it in overlapping tiles of so many pixels a side, which take the memory of a tile: the"
        " result may be larger than the model draws at once. Absent: as a whole.",
    )


class Upscale(BaseModel):
    """What a job enlarges by, and with which upscaler, or in which of LATENT_MODES. `steps` and `strength` are those of
    a second pass, None of a job that only enlarges a picture; `tile` the side of its tiles, None for the whole."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    factor: float
    model: str = ""
    steps: int | None = None
    strength: float | None = None
    tile: int | None = None

    def steps_run(self, size: tuple[int | None, int | None]) -> int:
        """Denoising steps that the second pass runs per picture, of all tiles. `size` is that of the first pass."""
        if self.steps is None:
            return 0
        width, height = size
        known = self.tile is not None and width is not None and height is not None
        tiles = len(tiles_over(enlarged((width or 1, height or 1), self.factor), self.tile or 1)) if known else 1
        return tiles * steps_run(self.steps, self.strength)


def enlarged(size: Size, factor: float, multiple_of: int = 1) -> Size:
    """`size` times `factor`, rounded to multiples."""
    width, height = (max(1, round(side * factor / multiple_of)) * multiple_of for side in size)
    return width, height


def choose_second_pass(
    asked: UpscaleChoice | None,
    spec: ModelSpec,
    *,
    task: Task,
    size: tuple[int | None, int | None],
    steps: int,
    problems: list[FieldError],
) -> Upscale | None:
    """The second pass of a request that draws `size` in `steps`, for the upscaler as the client named it. What cannot
    be done is added to `problems`."""
    if asked is None:
        return None
    if problem := _cannot(spec, task, size):
        problems.append(FieldError(_FIELD, problem))
        return None
    second = spec.steps.fixed or asked.steps or steps
    most = spec.steps.fixed or _most_steps(spec)
    usual = SECOND_STRENGTH if asked.tile is None else TILED_STRENGTH
    strength = usual if asked.strength is None else asked.strength
    if second > most:
        problems.append(FieldError(f"{_FIELD}.steps", f"must be 1 to {most} for {spec.id}, not {second}"))
    elif second > 0 and steps_run(second, strength) < 1:
        least = ceil(1000 / second) / 1000
        message = f"{strength:g} of {second} steps leaves none to run; use {least:g} or more"
        problems.append(FieldError(f"{_FIELD}.strength", message))
    if problem := _too_large(spec, size, asked.factor, asked.tile):
        problems.append(FieldError(f"{_FIELD}.factor", problem))
    if asked.tile is not None and (problem := _no_tile(spec, asked.tile, asked.model)):
        problems.append(FieldError(f"{_FIELD}.tile", problem))
    return Upscale(factor=asked.factor, model=asked.model or "", steps=second, strength=strength, tile=asked.tile)


def upscaled_size(own: Size, factor: float, max_pixels: int) -> Size:
    """The size of a picture of size `own` after it is enlarged. Raises ValueError beyond `max_pixels`."""
    width, height = enlarged(own, factor)
    if width * height > max_pixels:
        largest = sqrt(max_pixels / (own[0] * own[1]))
        advice = f"; {largest:.2f} times is possible" if largest > 1 else ""
        raise ValueError(
            f"makes {width} x {height}, {width * height:,} pixels; at most {max_pixels:,} are allowed"
            f" (MAX_PIXELS){advice}"
        )
    return width, height


def usual_upscaler(catalog: Catalog, drawn_by: str | None) -> ModelSpec:
    """The upscaler of a request that names none: the first of the operator's, for pictures of the built-in models
    the built-in one. `drawn_by` is the id of the model that drew the picture, None if it is not known."""
    drawn = next((spec for spec in catalog if spec.id == drawn_by), None)
    if drawn is not None and drawn.group == "built-in":
        return catalog.upscaler(BUILTIN_UPSCALER_ID)
    own = [spec for spec in catalog.upscalers if spec.group != "built-in"]
    return own[0] if own else next(spec for spec in catalog.upscalers if is_resampling(spec))


def is_resampling(spec: ModelSpec) -> bool:
    """Whether the upscaler has no weights: pixels are resampled by Lanczos' filter."""
    return spec.repo == LANCZOS_REPO


def _cannot(spec: ModelSpec, task: Task, size: tuple[int | None, int | None]) -> str | None:
    if spec.lane == "remote":
        return f"cannot be used: {spec.id} runs at a provider, which draws once"
    if spec.media == "video":
        return f"cannot be used: {spec.id} makes videos"
    if task != TXT2IMG:
        return "is for a request without a picture; enlarge the result with POST /api/image/<id>/upscale"
    tasks = spec.options.tasks
    if tasks is not None and "img2img" not in tasks:
        return f"cannot be used: {spec.id} does not start from a picture (img2img), which the second pass does"
    if None in size:
        return f"needs width and height: the size that {spec.id} draws by itself is not known"
    return None


def _most_steps(spec: ModelSpec) -> int:
    high = max(STEPS_MAX, spec.steps.max)
    return min(high, spec.limits.max_steps or high)


def _no_tile(spec: ModelSpec, tile: int, model: str | None) -> str | None:
    limits = spec.limits
    least, most = max(limits.min_width, limits.min_height), min(limits.max_width, limits.max_height)
    if model is not None and latent_mode(model) is not None:
        return "is for upscalers of pictures, not for latents"
    if tile % limits.multiple_of or not least <= tile <= most:
        return f"must be a multiple of {limits.multiple_of} from {least} to {most} for {spec.id}, not {tile}"
    return None


def _too_large(spec: ModelSpec, size: tuple[int | None, int | None], factor: float, tile: int | None) -> str | None:
    limits = spec.limits
    width, height = enlarged((size[0] or 1, size[1] or 1), factor, limits.multiple_of)
    if tile is None and (width > limits.max_width or height > limits.max_height):
        at_once = f"{spec.id} draws at most {limits.max_width} x {limits.max_height} at once"
        return f"makes {width} x {height}; {at_once}: set tile to draw more"
    if limits.max_pixels is not None and width * height > limits.max_pixels:
        return f"makes {width} x {height}, {width * height:,} pixels; at most {limits.max_pixels:,} are allowed"
    return None
