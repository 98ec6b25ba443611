"""Upscalers in memory, and the enlargement of a picture by one: passes, tiles, memory and transparency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any

import numpy as np
import torch
from PIL import Image

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.core.upscaling import enlarged, is_resampling
from app.engines.base import Control, EngineSettings, GeneratedImage, Generation, Inputs, Pixels, ResidentModel
from app.engines.diffusers.load.errors import fits_in_memory
from app.engines.diffusers.load.errors import log as model_log
from app.engines.diffusers.load.precision import dtype_name
from app.engines.diffusers.load.weights import fingerprint
from app.engines.diffusers.memory.memory import release
from app.engines.diffusers.upscale.architectures import load_model, spandrel
from app.engines.diffusers.upscale.files import locate_upscaler
from app.engines.diffusers.upscale.resample import resampled
from app.engines.diffusers.upscale.tiles import LEAST_TILE, NotFinite, boxes, run_in_tiles
from app.errors import Cancelled, GenerationError, OutOfMemory

MOST_LOADED = 2
_GPU_TILE, _CPU_TILE = 512, 256
_WHOLE = 1 << 20  # a tile larger than any picture


@dataclass
class LoadedUpscaler:
    """`tile` becomes smaller when memory runs out."""

    spec: ModelSpec
    model: Any
    revision: str
    bytes: int
    tile: int


class Upscalers:
    """The upscalers of one device. `free_others` frees the memory of all models there but for the one with that id,
    which draws at the moment."""

    def __init__(self, settings: EngineSettings, device: torch.device, free_others: Callable[[str], object]) -> None:
        self._settings = settings
        self._device = device
        self._free_others = free_others
        self._loaded: dict[str, LoadedUpscaler] = {}
        self._drawing = ""  # the id of the model in whose second pass an upscaler is used

    def generate(self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs) -> Generation:
        """The result of a job that enlarges its picture."""
        started = time.perf_counter()
        self.load(spec, control)
        loaded_at = time.perf_counter()
        enlargement = Enlargement(control, len(inputs))
        factor = 1.0 if request.upscale is None else request.upscale.factor
        made = [
            self.enlarge(spec, each, enlarged((each.shape[1], each.shape[0]), factor), enlargement)
            for each in inputs.values()
        ]
        timings = {Phase.GENERATING.value: time.perf_counter() - loaded_at}
        if not is_resampling(spec):
            timings[Phase.LOADING.value] = loaded_at - started
        drawn_here = request.rerun_of is not None or any(picture.image_id for picture in request.pictures)
        return Generation(
            images=[GeneratedImage(pixels, request.seed if drawn_here else None) for pixels in made],
            effective={"upscaler": spec.id, "factor": factor, "tiles": enlargement.total},
            versions=self._versions_of(spec),
            timings=timings,
        )

    def load(self, spec: ModelSpec, control: Control) -> None:
        """Load `spec` into memory. Raises what `locate_upscaler` does, ModelUnavailable and OutOfMemory."""
        known = self._loaded.pop(spec.id, None)
        if is_resampling(spec):
            return
        if known is None or known.spec != spec:
            del known
            file = locate_upscaler(spec, self._settings, control)
            control.report(Phase.LOADING)
            found: list[Any] = []
            if not fits_in_memory(lambda: found.append(load_model(file, spec).to(self._device))):
                self._make_room()
                if not fits_in_memory(lambda: found.append(load_model(file, spec).to(self._device))):
                    raise OutOfMemory(f"Memory on {self._device} ran out while the upscaler {spec.id} was loaded.")
            known = self._placed(spec, found[0], fingerprint(file.parent, [file]))
        self._loaded[spec.id] = known
        while len(self._loaded) > MOST_LOADED:
            del self._loaded[next(iter(self._loaded))]

    def enlarge(self, spec: ModelSpec, pixels: Pixels, size: tuple[int, int], enlargement: Enlargement) -> Pixels:
        """`pixels` (RGB, or RGBA) at `size`: the model is run until it has made as many, and more are resampled away.
        Transparency is resampled. `spec` is loaded.

        Raises Cancelled, OutOfMemory and GenerationError.
        """
        enlargement.check()
        if is_resampling(spec) or (size[0] <= pixels.shape[1] and size[1] <= pixels.shape[0]):
            enlargement.begin(1)
            made = resampled(pixels, size)
            enlargement.after_tile()
            enlargement.finish()
            return made
        loaded = self._loaded[spec.id]
        colors = pixels[:, :, :3]
        while True:
            enlargement.begin(_tiles_of(loaded, colors, size))
            try:
                made = self._within_memory(loaded, colors, size, enlargement)
            except NotFinite:
                self._widen(loaded)
                continue
            break
        enlargement.finish()
        if pixels.shape[2] == 3:
            return made
        alpha = resampled(np.ascontiguousarray(pixels[:, :, 3]), size)
        return np.dstack([made, alpha])

    @contextmanager
    def beside(self, drawing: ModelSpec) -> Iterator[None]:
        """Keep the model `drawing` in memory: it draws, and an upscaler is used between its two passes."""
        self._drawing = drawing.id
        try:
            yield
        finally:
            self._drawing = ""

    def with_versions(self, made: Generation, spec: ModelSpec) -> Generation:
        """`made` by a second pass with the upscaler `spec`."""
        own = {f"upscaler_{name}": version for name, version in self._versions_of(spec).items()}
        return replace(made, versions={**made.versions, **own})

    def unload(self, model_id: str) -> None:
        if self._loaded.pop(model_id, None) is not None:
            release()

    def clear(self) -> None:
        """Free the memory of all."""
        self._loaded.clear()

    def resident(self) -> list[ResidentModel]:
        return [
            ResidentModel(
                model_id=loaded.spec.id,
                device=str(self._device),
                dtype=dtype_name(loaded.model.dtype),
                device_bytes=0 if self._device.type == "cpu" else loaded.bytes,
                host_bytes=loaded.bytes if self._device.type == "cpu" else 0,
            )
            for loaded in self._loaded.values()
        ]

    def _versions_of(self, spec: ModelSpec) -> dict[str, str]:
        """What the pixels depend on, for the manifest."""
        if is_resampling(spec):
            return {"pillow": Image.__version__}
        loaded = self._loaded[spec.id]
        return {
            "spandrel": spandrel().__version__,
            "torch": torch.__version__,
            "architecture": loaded.model.architecture.name,
            "dtype": dtype_name(loaded.model.dtype),
            "device": str(self._device),
            "revision": loaded.revision,
        }

    def _placed(self, spec: ModelSpec, model: Any, revision: str) -> LoadedUpscaler:
        if self._device.type != "cpu":
            model.to(dtype=_narrow(model))
        size = sum(tensor.nbytes for tensor in (*model.model.parameters(), *model.model.buffers()))
        internal = model.tiling == spandrel().ModelTiling.INTERNAL
        tile = _WHOLE if internal else _CPU_TILE if self._device.type == "cpu" else _GPU_TILE
        model_log.info("%s: loaded, %s, %s times, %s bytes", spec.id, model.architecture.name, model.scale, size)
        return LoadedUpscaler(spec, model, revision, size, tile)

    def _within_memory(
        self, loaded: LoadedUpscaler, colors: Pixels, size: tuple[int, int], enlargement: Enlargement
    ) -> Pixels:
        """With smaller and smaller tiles, and in the end without other models."""
        alone = False
        while True:
            made: list[Pixels] = []
            if fits_in_memory(lambda: made.append(_passes(loaded, colors, size, enlargement))):  # noqa: B023
                return made[0]
            release()
            if loaded.tile > LEAST_TILE:
                loaded.tile = max(LEAST_TILE, min(loaded.tile, *colors.shape[:2]) // 2)
                model_log.warning("%s: memory ran out; tiles have %s pixels now", loaded.spec.id, loaded.tile)
            elif not alone:
                alone = True
                self._make_room(loaded.spec.id)
            else:
                raise OutOfMemory(
                    f"Memory on {self._device} ran out while {loaded.spec.id} enlarged a picture in tiles of"
                    f" {loaded.tile} pixels. Use a smaller upscaler, or stop other programs that use that memory."
                )
            enlargement.begin(_tiles_of(loaded, colors, size))

    def _make_room(self, keep: str | None = None) -> None:
        self._loaded = {name: loaded for name, loaded in self._loaded.items() if name == keep}
        self._free_others(self._drawing)
        release()

    def _widen(self, loaded: LoadedUpscaler) -> None:
        """Use float32 from now on. Raises GenerationError where it is that already."""
        if loaded.model.dtype is torch.float32:
            raise GenerationError(f"{loaded.spec.id} returned NaN or infinity: its weights are damaged.")
        model_log.warning("%s overflowed in %s; it runs in float32", loaded.spec.id, dtype_name(loaded.model.dtype))
        loaded.model.to(dtype=torch.float32)
        loaded.bytes = sum(tensor.nbytes for tensor in loaded.model.model.parameters())


class Enlargement:
    """Progress of enlarging `pictures`: tiles over all passes. Cancelled between two."""

    def __init__(self, control: Control, pictures: int) -> None:
        self._control = control
        self._left = pictures
        self.total, self._before, self._done = 0, 0, 0

    def begin(self, tiles: int) -> None:
        """Start a picture, perhaps anew; each of those left is taken to have as many tiles."""
        self.total, self._done = self._before + tiles * self._left, self._before
        self._control.report(Phase.GENERATING, self._done, self.total)

    def finish(self) -> None:
        """A picture is done."""
        self._before, self._left = self._done, self._left - 1

    def after_tile(self) -> None:
        self._done += 1
        self._control.report(Phase.GENERATING, self._done, self.total)
        self.check()

    def check(self) -> None:
        """Raises Cancelled."""
        if self._control.cancelled():
            raise Cancelled


def _passes(loaded: LoadedUpscaler, colors: Pixels, size: tuple[int, int], enlargement: Enlargement) -> Pixels:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # some architectures draw noise
        for _ in range(_passes_needed(loaded.model.scale, colors.shape, size)):
            colors = run_in_tiles(loaded.model, colors, loaded.tile, enlargement.after_tile)
    return resampled(colors, size)


def _passes_needed(scale: int, shape: tuple[int, ...], size: tuple[int, int]) -> int:
    factor = max(size[0] / shape[1], size[1] / shape[0])
    return max(1, ceil(log(factor, scale) - 1e-6)) if factor > 1 else 1


def _tiles_of(loaded: LoadedUpscaler, colors: Pixels, size: tuple[int, int]) -> int:
    (height, width), scale = colors.shape[:2], loaded.model.scale
    passes = range(_passes_needed(scale, colors.shape, size))
    return sum(len(boxes(width * scale**number, height * scale**number, loaded.tile)) for number in passes)


def _narrow(model: Any) -> torch.dtype:
    if model.supports_half:
        return torch.float16
    return torch.bfloat16 if model.supports_bfloat16 else torch.float32
