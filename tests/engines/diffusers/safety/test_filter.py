"""The safety filter with tiny checkers whose thresholds are forced both ways: the effect of each policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from app.core.safety import SafetyResult
from app.engines.base import EngineSettings, GeneratedImage
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.safety.filter import _flagged, blurred
from app.errors import ContentBlocked, ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.safety import ALWAYS, NEVER, clip_checker, label_checker


@pytest.fixture(scope="module")
def strict(tmp_path_factory) -> Path:
    return clip_checker(tmp_path_factory.mktemp("strict"), ALWAYS)


@pytest.fixture(scope="module")
def lenient(tmp_path_factory) -> Path:
    return clip_checker(tmp_path_factory.mktemp("lenient"), NEVER)


@pytest.fixture
def draw(engine, spec_of, ask):
    def run(engine=engine, *, num_images: int = 1, control: Recorder | None = None, **options):
        spec = spec_of("sd15", **{name: str(value) for name, value in options.items()})
        return engine.generate(spec, ask(num_images=num_images), control or Recorder())

    return run


def test_without_a_checker_it_is_skipped(draw) -> None:
    made = draw()
    assert made.safety is SafetyResult.SKIPPED
    assert [image.safety for image in made.images] == [SafetyResult.SKIPPED]


def test_what_passes_is_the_very_same_picture(draw, lenient) -> None:
    plain, checked = draw(num_images=2), draw(num_images=2, safety_checker=lenient)
    assert checked.safety is SafetyResult.PASSED
    assert checked.warnings == plain.warnings
    assert "safety" in checked.timings
    for one, other in zip(plain.images, checked.images, strict=True):
        assert other.safety is SafetyResult.PASSED
        assert (one.pixels == other.pixels).all()


def test_mark_publishes_unchanged_with_a_warning(draw, strict) -> None:
    plain, marked = draw(), draw(safety_checker=strict, safety_policy="mark")
    assert (marked.safety, marked.images[0].safety) == (SafetyResult.MARKED, SafetyResult.MARKED)
    assert (marked.images[0].pixels == plain.images[0].pixels).all()
    assert "The safety filter: 1 of 1 flagged." in marked.warnings


def test_blur_leaves_no_shapes(draw, strict) -> None:
    plain, blurry = draw(), draw(safety_checker=strict, safety_policy="blur")
    assert blurry.safety is SafetyResult.BLURRED
    before, after = (made.images[0].pixels.astype(float) for made in (plain, blurry))
    assert after.shape == before.shape
    assert np.abs(np.diff(after, axis=1)).mean() < np.abs(np.diff(before, axis=1)).mean() / 4
    assert np.abs(after.mean((0, 1)) - before.mean((0, 1))).max() < 8  # its colours


def test_block_publishes_nothing_and_is_the_default(draw, strict) -> None:
    with pytest.raises(ContentBlocked, match="blocked all outputs"):
        draw(safety_checker=strict)


def test_what_is_not_flagged_of_several_is_published(draw, engine, strict, monkeypatch) -> None:
    monkeypatch.setitem(engine._safety._checkers, str(strict), lambda pictures: [False, True, False])
    made = draw(num_images=3, safety_checker=strict)
    assert [image.seed for image in made.images] == [7, 9]
    assert made.safety is SafetyResult.BLOCKED
    assert "The safety filter: 1 of 3 blocked." in made.warnings


def test_one_for_all_models_and_a_model_without(tiny, draw, strict) -> None:
    engine = DiffusersEngine(
        EngineSettings(root=tiny, model_cache_dir=tiny, safety_checker=str(strict), safety_policy="mark")
    )
    assert draw(engine).safety is SafetyResult.MARKED
    assert draw(engine, safety_checker="").safety is SafetyResult.SKIPPED


def test_what_may_be_held_back_is_not_shown_half_way(engine, spec_of, strict) -> None:
    for policy, shown in (("block", False), ("blur", False), ("mark", True)):
        spec = spec_of("sd15", safety_checker=str(strict), safety_policy=policy)
        assert engine._safety.allows_previews(spec) is shown
    assert engine._safety.allows_previews(spec_of("sd15"))


@pytest.mark.parametrize(("says", "result"), [("nsfw", SafetyResult.MARKED), ("normal", SafetyResult.PASSED)])
def test_another_kind_of_checker(draw, tmp_path, says, result) -> None:
    folder = label_checker(tmp_path / "labels", says)
    assert draw(safety_checker=folder, safety_policy="mark").safety is result


def damaged(tmp_path: Path, how: str) -> Path:
    folder = clip_checker(tmp_path / how, NEVER)
    weights = folder / "safety_checker" / "model.safetensors"
    if how == "gone":
        weights.unlink()
    elif how == "pickle":
        weights.rename(weights.with_name("pytorch_model.bin"))
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "lacking":
        kept = load_file(weights)
        kept.pop("concept_embeds")
        save_file(kept, weights, metadata={"format": "pt"})
    elif how == "other":
        (folder / "safety_checker" / "config.json").write_text('{"architectures": ["SomethingElse"]}')
    return folder


@pytest.mark.parametrize("how", ["gone", "pickle", "cut", "lacking", "other"])
def test_a_checker_that_does_not_work_fails_the_job_before_anything_is_drawn(draw, tmp_path, how) -> None:
    control = Recorder()
    with pytest.raises(ModelUnavailable, match="safety checker"):
        draw(control=control, safety_checker=damaged(tmp_path, how))
    assert not control.reports


def test_labels_that_say_nothing(draw, tmp_path) -> None:
    with pytest.raises(ModelUnavailable, match="none of the labels"):
        draw(safety_checker=label_checker(tmp_path / "cats", "cat", ("cat", "dog")))


def test_a_blurred_picture_keeps_its_size() -> None:
    for shape in ((64, 48, 3), (8, 200, 3), (4, 4, 3)):
        assert blurred(np.zeros(shape, np.uint8)).shape == shape


def test_what_transparency_hides_is_checked_on_white_and_on_black():
    seen = []

    def check(pictures):
        seen.extend(pictures)
        return [bool((pixels[0, 0] == 0).all()) for pixels in pictures]

    hidden = np.full((8, 8, 4), 255, np.uint8)
    hidden[0, 0, 3] = 0  # black on black only
    plain = np.full((8, 8, 3), 255, np.uint8)
    assert _flagged(check, [GeneratedImage(hidden, 1), GeneratedImage(plain, 2)]) == [True, False]
    assert len(seen) == 4
    assert all(pixels.shape == (8, 8, 3) for pixels in seen)
