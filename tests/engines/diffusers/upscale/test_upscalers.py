"""Upscalers of a file: tiles, memory, transparency, cancelling, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.core.builtin_models import LANCZOS_REPO
from app.core.job import Phase
from app.core.tasks import UPSCALE
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.upscale import tiles, upscalers
from app.engines.diffusers.upscale.architectures import load_model
from app.engines.diffusers.upscale.tiles import boxes, run_in_tiles
from app.errors import Cancelled, GenerationError, ModelUnavailable, OutOfMemory
from tests.engines.diffusers.generate.control import Recorder
from tools.demo_model.upscaler import Upscaler, export


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """`double.safetensors` doubles pictures, in a way of its own."""
    place = tmp_path_factory.mktemp("upscalers")
    torch.manual_seed(1)
    network = Upscaler()
    torch.nn.init.normal_(network.body[-1].weight, std=0.02)
    export(network, place / "double.safetensors")
    return place


@pytest.fixture
def engine(folder) -> DiffusersEngine:
    return DiffusersEngine(EngineSettings(root=folder, model_cache_dir=folder))


@pytest.fixture
def double(folder, spec_of):
    return spec_of(folder / "double.safetensors", kind="upscaler")


@pytest.fixture
def enlarge(engine, ask):
    """The pixels of a job that enlarges."""

    def make(spec, pixels, factor, control=None):
        size = {"width": pixels.shape[1] * factor, "height": pixels.shape[0] * factor}
        request = ask(task=UPSCALE, upscale={"factor": factor, "model": spec.id}, **size)
        return engine.generate(spec, request, control or Recorder(), {"image": pixels})

    return make


AROUND = 2 * (tiles.OVERLAP + tiles.BLENDED)


class Moody:
    """An upscaler that draws each tile with another brightness, as one may whose view is wider than a tile."""

    scale, device, dtype = 2, torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, part: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return part.repeat_interleave(2, 2).repeat_interleave(2, 3) + (0.05 if self.calls % 2 else -0.05)


def test_tiles_that_differ_are_blended() -> None:
    flat = np.full((160, 240, 3), 128, np.uint8)
    made, model = run_in_tiles(Moody(), flat, 80, lambda: None), Moody()
    assert made.shape == (320, 480, 3)
    steps = [np.abs(np.diff(made[..., 0].astype(int), axis=axis)).max() for axis in (0, 1)]
    assert made.max() - made.min() >= 25
    assert max(steps) <= 2  # of 26, over twice 16 pixels in twice the size
    assert np.array_equal(run_in_tiles(model, flat, 1000, lambda: None), np.full((320, 480, 3), 141, np.uint8))


def test_tiles_cover_a_picture_once() -> None:
    covered = np.zeros((70, 131), int)
    for left, top, right, bottom in boxes(131, 70, 32):
        covered[top:bottom, left:right] += 1
        assert right - left <= 32
        assert bottom - top <= 32
    assert (covered == 1).all()


def test_tiles_show_no_seam(folder, double) -> None:
    model = load_model(folder / "double.safetensors", double)
    pixels, done = noise(90, 110), []
    whole = run_in_tiles(model, pixels, 1000, lambda: None)
    parts = run_in_tiles(model, pixels, 40, lambda: done.append(1))
    assert len(done) == len(boxes(110, 90, 40)) > 4
    assert whole.shape == (180, 220, 3)
    assert np.abs(whole.astype(int) - parts).max() <= 1  # rounding: sums in another order


def test_four_times_by_a_model_that_doubles(enlarge, double) -> None:
    control = Recorder()
    made = enlarge(double, noise(20, 30), 4, control)
    assert made.images[0].pixels.shape == (80, 120, 3)
    assert made.versions["architecture"] == "RealESRGAN Compact"
    assert made.versions["revision"].startswith("sampled-sha256:")
    assert [report for report in control.reports if report[0] is Phase.GENERATING][-1] == (Phase.GENERATING, 2, 2)
    assert made.effective["tiles"] == 2


def test_three_times_is_resampled_from_four(enlarge, double) -> None:
    assert enlarge(double, noise(20, 30), 3).images[0].pixels.shape == (60, 90, 3)


def test_transparency_is_kept(enlarge, double, spec_of) -> None:
    pixels = noise(20, 30, 4)
    pixels[:, :15, 3], pixels[:, 15:, 3] = 0, 255
    for spec in (double, spec_of(LANCZOS_REPO, kind="upscaler")):
        made = enlarge(spec, pixels, 2).images[0].pixels
        assert made.shape == (40, 60, 4)
        assert (made[:, :24, 3] == 0).all()
        assert (made[:, 36:, 3] == 255).all()


def test_the_same_picture_gives_the_same_pixels(enlarge, double) -> None:
    pixels = noise(24, 24)
    assert (enlarge(double, pixels, 2).images[0].pixels == enlarge(double, pixels, 2).images[0].pixels).all()


def test_a_cancel_is_seen_between_tiles(enlarge, double, monkeypatch) -> None:
    monkeypatch.setattr(upscalers, "_CPU_TILE", 16)
    control = Recorder(cancel_at=1)
    with pytest.raises(Cancelled):
        enlarge(double, noise(40, 40), 2, control)
    assert control.last_step() == 1


def test_a_tile_that_does_not_fit_becomes_smaller(enlarge, engine, double, monkeypatch) -> None:
    sides, drawn = [], tiles._drawn

    def short_of_memory(model, part):
        sides.append(max(part.shape[:2]))
        if max(part.shape[:2]) > 70 + AROUND:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return drawn(model, part)

    monkeypatch.setattr(tiles, "_drawn", short_of_memory)
    pixels = noise(200, 200)
    made = enlarge(double, pixels, 2)
    assert sides[0] == 200
    assert max(sides[-4:]) <= 70 + AROUND
    assert made.images[0].pixels.shape == (400, 400, 3)
    again = len(sides)
    enlarge(double, pixels, 2)
    assert max(sides[again:]) <= 70 + AROUND  # it is remembered


def test_the_smallest_tiles_and_no_other_model_are_the_last_try(enlarge, double, monkeypatch) -> None:
    def no_memory(model, part):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiles, "_drawn", no_memory)
    with pytest.raises(OutOfMemory, match="in tiles of 64 pixels"):
        enlarge(double, noise(100, 100), 2)


def test_two_are_kept_in_memory(folder, engine, enlarge, double, spec_of) -> None:
    specs = [double]
    for name in ("other", "third"):
        (folder / f"{name}.safetensors").write_bytes((folder / "double.safetensors").read_bytes())
        specs.append(spec_of(folder / f"{name}.safetensors", kind="upscaler"))
    for spec in specs:
        enlarge(spec, noise(8, 8), 2)
    assert [model.model_id for model in engine.resident()] == [spec.id for spec in specs[1:]]
    assert all(model.host_bytes > 0 for model in engine.resident())
    engine.unload(specs[1].id)
    assert [model.model_id for model in engine.resident()] == [specs[2].id]


def test_weights_that_return_nan_are_an_error(folder, enlarge, spec_of) -> None:
    network = Upscaler()
    torch.nn.init.constant_(network.body[0].bias, float("nan"))
    export(network, folder / "broken.safetensors")
    with pytest.raises(GenerationError, match="NaN or infinity"):
        enlarge(spec_of(folder / "broken.safetensors", kind="upscaler"), noise(8, 8), 2)


@pytest.mark.parametrize(
    ("name", "tensors", "message"),
    [
        ("text.safetensors", None, "damaged|header|truncated"),
        ("strange.safetensors", {"weight": torch.zeros(2, 2)}, "its architecture is not known"),
        ("model.pth", None, "never loaded"),
        ("absent.safetensors", {}, "is missing"),
    ],
)
def test_other_files_are_refused(folder, enlarge, spec_of, name, tensors, message) -> None:
    if tensors is None:
        (folder / name).write_bytes(b"no weights at all, only words that go on for a while")
    elif tensors:
        save_file(tensors, folder / name)
    with pytest.raises(ModelUnavailable, match=message):
        enlarge(spec_of(folder / name, kind="upscaler"), noise(8, 8), 2)


def test_a_model_that_only_restores_is_refused(folder, enlarge, spec_of) -> None:
    """The same architecture, with a scale of 1."""
    state = Upscaler().state_dict()
    state["body.22.weight"], state["body.22.bias"] = torch.zeros(3, 32, 3, 3), torch.zeros(3)
    save_file(state, folder / "denoiser.safetensors")
    with pytest.raises(ModelUnavailable, match="enlarges no colour pictures"):
        enlarge(spec_of(folder / "denoiser.safetensors", kind="upscaler"), noise(8, 8), 2)
