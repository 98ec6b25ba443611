"""Four pictures of one job in one call (IMAGES_PER_BATCH=4) against one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import EngineSettings, Pixels
from app.engines.diffusers.engine import DiffusersEngine
from bench.null_control import NullControl
from bench.together import Draw, compare

IMAGES = 4


def main() -> None:
    compare(ways)


def ways(spec: ModelSpec, side: int, steps: int) -> tuple[Draw, Draw]:
    request = GenerationRequest(
        model_id="m",
        prompt="a red circle on a blue background",
        num_inference_steps=steps,
        width=side,
        height=side,
        seed=1,
        num_images=IMAGES,
    )

    def way(number: int) -> Draw:
        settings = EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=False, images_per_batch=number)
        engine = DiffusersEngine(settings)

        def draw() -> Sequence[Pixels]:
            return [image.pixels for image in engine.generate(spec, request, NullControl()).images]

        return draw

    return way(1), way(IMAGES)
