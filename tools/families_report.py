"""Draw with a tiny checkpoint of every family, for every task, and compare with diffusers called directly.

python -m tools.families_report          write the table of docs/MODELS.md
python -m tools.families_report FAMILY…  print the rows of these families

Each family is loaded by one MODEL_ line as any model is, draws with a preview after each step, and its pictures before
rounding are compared with those of a script with the same arguments and seed.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch

from app.config import ROOT
from app.core.catalog import ModelOptions, ModelSpec
from app.core.families.calls import FRAMES_ARGUMENTS
from app.core.families.lookup import family_of
from app.core.job import Phase
from app.core.memory_parts import DENOISERS
from app.core.request import GenerationRequest
from app.core.tasks import TASKS, VIDEO_TASKS
from app.engines.base import EngineSettings, Generation, Inputs, Pixels
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate, preview
from app.engines.diffusers.generate.arguments import call_of, guides_by_negative_prompt, has_bins
from app.engines.diffusers.generate.outputs import FloatPixels, pictures_of
from app.engines.diffusers.load.checkpoint import inspect_folder
from app.engines.diffusers.load.processors import load_processors
from app.errors import CyberImageError
from tools.tiny_models.build import build
from tools.tiny_models.lora import make_lora
from tools.tiny_models.sample import Sample
from tools.tiny_models.samples import SAMPLES

PAGE = ROOT / "docs" / "MODELS.md"
SEED = 5
WITHOUT_LORAS = ("prx",)  # diffusers' class inherits the loader of Stable Diffusion, which looks for a UNet
FIXED_STEPS = ("sana-sprint",)
STEPS = 3  # with a strength of 0.8 two are run, and the last has no preview
SIDE, MEGAPIXEL = 64, 1024 * 1024  # of small edits; pixels
CLOSE = 1e-5  # of 0 to 1, before rounding
FLAT = 1e-3  # deviation of all values
CLOSE_LORA = 3e-4  # the products of a LoRA are added in another order
SEEN = 1e-3  # least change of a picture by a LoRA
NO_LORAS = "none in diffusers"
WELL = ("yes", NO_LORAS)
LORA_SCALE, LORA_STRENGTH = 0.8, 4.0  # strong: in some checkpoints the attention counts for little
_GUIDANCE = ("guidance_scale", "distilled_guidance_scale")
_REQUESTED = (  # what a request can say; everything else is left to the pipeline by both
    *("prompt", "negative_prompt", "num_inference_steps", "width", "height", "num_frames", "frames", "video_length"),
    "strength",
    *(*_GUIDANCE, "true_cfg_scale", "guidance_scale_2", "image", "images", "input_images", "mask_image"),
)
_AT_ONCE = ("FIRST_AFTER_SECONDS", "SHOWN_AT_LEAST_SECONDS", "PAUSE_SECONDS", "PAUSE_COSTS")


@dataclass(frozen=True)
class Drawing:
    """A picture or video before rounding, and what the engine made of it."""

    pixels: FloatPixels
    made: Generation


@dataclass(frozen=True)
class LoraRow:
    """What a LoRA for the denoiser did. `difference`: the largest to the direct call with the LoRA as diffusers loads
    it; `effect`: the largest to the picture without it. `problem` is the error's text."""

    family: str
    difference: float = 0.0
    effect: float = 0.0
    problem: str = ""

    @property
    def passed(self) -> bool:
        narrow = SAMPLES[self.family].dtype != "float32"
        return (
            not self.problem and self.difference <= (self.effect / 8 if narrow else CLOSE_LORA) and self.effect > SEEN
        )

    @property
    def words(self) -> str:
        if self.passed:
            return "yes"
        return self.problem or f"differs by {self.difference:.1g}, changes {self.effect:.1g}"


@dataclass(frozen=True)
class Row:
    """What one family did for one task. `difference` is the largest to the direct call, None if nothing was drawn;
    `previews` their number; `problem` the error's text."""

    family: str
    task: str
    difference: float | None = None
    previews: int = 0
    problem: str = ""
    drawing: Drawing | None = field(default=None, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        return self.difference is not None and self.difference <= CLOSE


class Recorder:
    """A `Control` that counts previews, and cancels once `cancel_at` steps are done."""

    def __init__(self, cancel_at: int | None = None) -> None:
        self.previews: list[Pixels] = []
        self._step, self._cancel_at = 0, cancel_at

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        self._step = max(self._step, step)

    def downloaded(self, done: int, total: int) -> None:
        """Nothing is downloaded."""

    def preview(self, pixels: Pixels, step: int) -> None:
        self.previews.append(pixels)

    def cancelled(self) -> bool:
        return self._cancel_at is not None and self._step >= self._cancel_at


def tasks_of(sample: Sample) -> list[str]:
    """The sample's tasks that requests can have."""
    return [task for task in TASKS if task in sample.tasks]


def spec_of(family: str, folder: Path) -> ModelSpec:
    """The catalogue entry that a MODEL_ line for the checkpoint makes."""
    sample = SAMPLES[family]
    video = any(task in VIDEO_TASKS for task in sample.tasks)
    options = ModelOptions.model_validate({"media": "video" if video else "image", "dtype": sample.dtype})
    return ModelSpec(id=family, name=family, repo=str(folder), description="", source="local", options=options)


def request_of(family: str, task: str, arguments: Mapping[str, Any], lora: str = "") -> GenerationRequest:
    """The request whose pipeline arguments are `arguments`."""
    guidance = next((arguments[name] for name in _GUIDANCE if name in arguments), None)
    fields = {
        name: arguments.get(name) for name in ("width", "height", "strength", "true_cfg_scale", "guidance_scale_2")
    }
    negative = (arguments.get("negative_prompt") or "").strip() or None
    return GenerationRequest.model_validate(
        fields
        | {"model_id": family, "prompt": arguments["prompt"], "negative_prompt": negative, "task": task, "seed": SEED}
        | {"num_inference_steps": arguments["num_inference_steps"], "guidance_scale": guidance}
        | {"num_frames": next((arguments[name] for name in FRAMES_ARGUMENTS if name in arguments), None)}
        | ({"loras": [{"id": lora, "scale": LORA_SCALE}]} if lora else {})
    )


def requested(family: str, task: str) -> dict[str, Any]:
    """The sample's arguments of a call that a request can have."""
    sample = SAMPLES[family]
    arguments = {name: value for name, value in sample.arguments(task).items() if name in _REQUESTED}
    if family not in FIXED_STEPS:
        arguments["num_inference_steps"] = max(STEPS, sample.steps)
    return arguments


def inputs_of(arguments: Mapping[str, Any]) -> Inputs:
    """The input images among `arguments`, by slot."""
    images = arguments.get("image") or arguments.get("images") or arguments.get("input_images") or []
    images = images if isinstance(images, list) else [images]
    found = {f"image-{n}" if n > 1 else "image": np.asarray(image) for n, image in enumerate(images, 1)}
    if "mask_image" in arguments:
        found["mask"] = np.asarray(arguments["mask_image"])
    return found


@contextmanager
def quick_previews() -> Iterator[None]:
    """A preview after each step."""
    with ExitStack() as stack:
        for name in _AT_ONCE:
            stack.enter_context(mock.patch.object(preview, name, 0.0))
        yield


@contextmanager
def small_edits(pipeline_class: str) -> Iterator[None]:
    """Qwen-Image's editors scale the pictures sent to a megapixel, and FLUX Kontext's draw one too, whatever is asked
    for, which takes seconds: less for both."""
    kind = getattr(diffusers, pipeline_class)
    module = sys.modules[kind.__module__]
    with ExitStack() as stack:
        if "qwenimage" in module.__name__ and hasattr(module, "calculate_dimensions"):
            less = (SIDE, SIDE, *module.calculate_dimensions(MEGAPIXEL, 1)[2:])
            stack.enter_context(mock.patch.object(module, "calculate_dimensions", return_value=less))
        if hasattr(module, "PREFERRED_KONTEXT_RESOLUTIONS"):
            stack.enter_context(mock.patch.object(module, "PREFERRED_KONTEXT_RESOLUTIONS", [(SIDE, SIDE)]))
            call = inspect.unwrap(kind.__call__)  # max_area is an argument that no request has
            defaults = tuple(SIDE * SIDE if value == MEGAPIXEL else value for value in call.__defaults__ or ())
            stack.enter_context(mock.patch.object(call, "__defaults__", defaults))
        yield


def drawn_directly(
    family: str, task: str, folder: Path, arguments: Mapping[str, Any], lora: Path | None = None
) -> FloatPixels:
    """The picture or video of a plain script."""
    sample = SAMPLES[family]
    pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(
        folder,
        dtype=getattr(torch, sample.dtype),
        local_files_only=True,
        **load_processors(inspect_folder(folder, None)),
    )
    if lora is not None:
        load_lora(pipeline, lora)
    if task in sample.classes:
        pipeline = getattr(diffusers, sample.classes[task]).from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    call, given = call_of(pipeline), dict(arguments)
    if guides_by_negative_prompt(call) and given.get("true_cfg_scale", call.takes["true_cfg_scale"]) > 1:
        given.setdefault("negative_prompt", " ")  # else the guidance has no effect
    if "use_resolution_binning" in call.takes:
        given["use_resolution_binning"] = has_bins(pipeline, call)
    if "max_area" in call.takes and sample.width and sample.height:
        given["max_area"] = sample.width * sample.height  # else Kontext draws a megapixel
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        output = pipeline(**given, generator=torch.Generator("cpu").manual_seed(SEED), output_type="np")
    return pictures_of(output)[0]


def load_lora(pipeline: Any, file: Path) -> None:
    """The LoRA as diffusers loads it, into both transformers of a model that has two."""
    pipeline.load_lora_weights(file, adapter_name="style")
    if getattr(pipeline, "transformer_2", None) is not None:
        pipeline.load_lora_weights(file, adapter_name="style", load_into_transformer_2=True)
    pipeline.set_adapters(["style"], [LORA_SCALE])


def drawn_by_engine(
    engine: DiffusersEngine,
    family: str,
    task: str,
    folder: Path,
    arguments: Mapping[str, Any],
    control: Recorder,
    lora: str = "",
) -> Drawing:
    """The same by the engine. Raises what it raises. `lora`: the id of a LoRA."""
    drawing, seen = generate.draw, []

    def remember(*given: Any) -> generate.Drawn:
        seen.append(drawing(*given))
        return seen[-1]

    with mock.patch.object(generate, "draw", remember), quick_previews():
        request = request_of(family, task, arguments, lora)
        made = engine.generate(spec_of(family, folder), request, control, inputs_of(arguments))
    assert made.images or made.videos
    return Drawing(seen[-1].pictures[0], made)


def has_loras(family: str) -> bool:
    """Whether diffusers loads LoRAs for the family."""
    parts = getattr(getattr(diffusers, SAMPLES[family].pipeline), "_lora_loadable_modules", ())
    return any(name.startswith(DENOISERS) for name in parts) and family not in WITHOUT_LORAS


def check_lora(engine: DiffusersEngine, family: str, folder: Path, loras_dir: Path, plain: FloatPixels) -> LoraRow:
    """Draw the family's first task with a LoRA for its denoiser, both ways. `loras_dir` is the engine's folder of
    LoRAs, `plain` the picture without one."""
    task, sample = tasks_of(SAMPLES[family])[0], SAMPLES[family]
    arguments = requested(family, task)
    file = make_lora(folder, loras_dir / f"{family}.safetensors", strength=LORA_STRENGTH)
    with small_edits(sample.classes.get(task, sample.pipeline)):
        try:
            ours = drawn_by_engine(engine, family, task, folder, arguments, Recorder(), family).pixels
        except CyberImageError as error:
            return LoraRow(family, problem=str(error))
        direct = drawn_directly(family, task, folder, arguments, file)
    return LoraRow(family, float(np.abs(ours - direct).max()), float(np.abs(ours - plain).max()))


def check(engine: DiffusersEngine, family: str, task: str, folder: Path) -> Row:
    """Draw both ways and compare."""
    sample, control = SAMPLES[family], Recorder()
    arguments = requested(family, task)
    with small_edits(sample.classes.get(task, sample.pipeline)):
        try:
            ours = drawn_by_engine(engine, family, task, folder, arguments, control)
        except (CyberImageError, RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
            expected = isinstance(error, CyberImageError)
            return Row(family, task, problem=str(error) if expected else f"failed unexpectedly: {error!r}")
        direct = drawn_directly(family, task, folder, arguments)
    if direct.std() <= FLAT:
        return Row(family, task, problem="the script drew one colour, which proves nothing")
    if ours.pixels.shape != direct.shape:
        return Row(family, task, problem=f"drew {ours.pixels.shape}, and the script {direct.shape}")
    return Row(family, task, float(np.abs(ours.pixels - direct).max()), len(control.previews), drawing=ours)


def rows(families: list[str], folder: Path) -> Iterator[tuple[Row, str]]:
    """A row for each task of `families`, with what LoRAs did in the family."""
    engine = DiffusersEngine(EngineSettings(root=folder, model_cache_dir=folder, loras_dir=folder / "loras"))
    for family in families:
        checkpoint, loras = build(family, folder), NO_LORAS
        for task in tasks_of(SAMPLES[family]):
            row = check(engine, family, task, checkpoint)
            if task == tasks_of(SAMPLES[family])[0] and has_loras(family) and row.drawing is not None:
                loras = check_lora(engine, family, checkpoint, folder / "loras", row.drawing.pixels).words
            print(row, "LoRA:", loras, file=sys.stderr, flush=True)
            yield row, loras
        engine.unload(family)


def table(found: list[tuple[Row, str]]) -> list[str]:
    """The rows as a table of the documentation."""
    lines = [
        "| family | pipeline | task | as a script with diffusers | previews | LoRA as diffusers loads it |",
        "|---" * 6 + "|",
    ]
    for row, loras in found:
        pipeline = SAMPLES[row.family].pipeline
        record = family_of(pipeline)
        name = record.name if record is not None else pipeline.removesuffix("Pipeline")
        equal = "to the bit" if row.difference == 0 else "yes" if row.passed else row.problem or f"{row.difference:.1g}"
        previews = "yes" if row.previews else "none"
        lines.append(f"| {name} | {pipeline} | {row.task} | {equal} | {previews} | {loras} |")
    return lines


def main(families: list[str]) -> int:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(families or list(SAMPLES), Path(folder)))
    lines = table(found)
    print("\n".join(lines))
    if not families:
        text = "\n".join(lines)
        pattern = r"(<!-- families: .*? -->\n).*?(<!-- /families -->)"
        page = re.sub(pattern, lambda match: f"{match[1]}\n{text}\n\n{match[2]}", PAGE.read_text(), flags=re.DOTALL)
        PAGE.write_text(page)
    return 0 if all(row.passed and loras in WELL for row, loras in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
