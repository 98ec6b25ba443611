"""A worker process with a fake engine: fast, without weights, slow or failing as the prompt says.

python -m tests.browser.painter

The seed decides the scene. In the prompt, "slow" makes each step take a while, "endless" lasts until it is cancelled,
"broken" fails, "mends" fails the first time only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.cli.worker import main as run_worker
from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import (
    NO_INPUTS,
    Control,
    GeneratedImage,
    GeneratedVideo,
    Generation,
    Inputs,
    Pixels,
    ResidentModel,
)
from app.errors import Cancelled, GenerationError
from app.files.media import encode_mp4
from tools.demo_model.captions import caption
from tools.demo_model.paint import paint
from tools.demo_model.scene import sample_landscape

SLOW_STEP, STEP = 1.0, 0.01  # seconds
LONGEST = 600.0  # seconds that an endless one lasts, should the test fail
FAILURE = "The paint ran out. Ask for a smaller picture, or try again later."
SIDE = 256


class Painter:
    def __init__(self) -> None:
        self._models: dict[str, ResidentModel] = {}
        self._failed: set[str] = set()

    def load(self, spec: ModelSpec, control: Control) -> None:
        if spec.id not in self._models:
            control.report(Phase.LOADING)
            self._models[spec.id] = ResidentModel(spec.id, "cpu", "float32", host_bytes=23_400_000)

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        self.load(spec, control)
        if "broken" in request.prompt or ("mends" in request.prompt and request.prompt not in self._failed):
            self._failed.add(request.prompt)
            raise GenerationError(FAILURE)
        is_film = spec.media == "video"
        images = [
            GeneratedImage(retouched(picture(request, index), inputs), request.seed + index)
            for index in range(request.num_images)
        ]
        for step in range(1, request.num_inference_steps + 1):
            if control.cancelled():
                raise Cancelled
            time.sleep(SLOW_STEP if "slow" in request.prompt else STEP)
            control.report(Phase.GENERATING, step, request.num_inference_steps)
            control.preview(noisy(images[0].pixels, step / request.num_inference_steps), step)
        give_up_at = time.monotonic() + LONGEST
        while "endless" in request.prompt and time.monotonic() < give_up_at:
            if control.cancelled():
                raise Cancelled
            time.sleep(STEP)
        effective = {"guidance_scale": 3.5}
        made = Generation(images, effective, {"scheduler": "brush"}, {Phase.GENERATING.value: 0.1})
        return replace(made, images=[], videos=[film(request, inputs, image) for image in images]) if is_film else made

    def unload(self, model_id: str) -> None:
        self._models.pop(model_id, None)

    def resident(self) -> Sequence[ResidentModel]:
        return list(self._models.values())


def picture(request: GenerationRequest, index: int = 0) -> Pixels:
    seed = request.seed + index
    scene = sample_landscape(np.random.default_rng(seed))
    return paint(scene, request.width or SIDE, request.height or SIDE, seed)


def retouched(drawn: Pixels, inputs: Inputs) -> Pixels:
    """`drawn` where the mask is white, else the input picture; `drawn` alone without a mask."""
    if "mask" not in inputs or "image" not in inputs:
        return drawn
    image, mask = inputs["image"], inputs["mask"]
    painted = np.resize(drawn, image.shape) if drawn.shape != image.shape else drawn
    return np.where((mask > 127).reshape(*image.shape[:2], 1), painted, image).astype(np.uint8)


def film(request: GenerationRequest, inputs: Inputs, still: GeneratedImage) -> GeneratedVideo:
    """A video of the input image, or of `still`, moving to the left."""
    first, fps = inputs.get("image", still.pixels), request.fps or 8
    frames = [np.ascontiguousarray(np.roll(first, -4 * index, axis=1)) for index in range(request.num_frames or 9)]
    return GeneratedVideo(encode_mp4(frames, fps), frames[0], still.seed, seconds=len(frames) / fps, fps=fps)


def prompt_of(seed: int) -> str:
    """The image of `seed`."""
    rng = np.random.default_rng(seed)
    return caption(sample_landscape(rng), rng)


def noisy(pixels: Pixels, done: float) -> Pixels:
    """A small version of `pixels` that is still partly noise."""
    small = pixels[::4, ::4].astype(float)
    noise = np.random.default_rng(0).normal(128, 70, small.shape)
    return np.clip(small * done + noise * (1 - done), 0, 255).astype(np.uint8)


def main() -> int:
    painter = Painter()
    return run_worker(lambda _: {"local": lambda: painter})


if __name__ == "__main__":
    sys.exit(main())
