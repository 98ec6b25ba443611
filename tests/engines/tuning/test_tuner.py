"""The tuner's search, with an engine whose times and pictures are given; and how pictures are compared."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from app.core.catalog_lines import parse_model_line
from app.core.tuned_profiles import Measurement, TunedOptions
from app.engines.base import GeneratedImage, Generation
from app.engines.tuning import tuner as tuner_module
from app.engines.tuning.candidates import single_options, together
from app.engines.tuning.picture_change import change, psnr, ssim
from app.engines.tuning.tuner import Deadline, Subject, Tuner
from app.errors import Cancelled, OutOfMemory

LAST, FUSED = {"vae_channels_last": True}, {"fuse_qkv": True}
FIRST_BLOCK = {"cache": {"kind": "first-block", "threshold": 0.1}}
KERNELS = {"attention": "sage"}
TRIED = [TunedOptions.model_validate(each) for each in (LAST, FUSED, FIRST_BLOCK, KERNELS)]
SUBJECT = Subject(("a", "b"), (1, 2))


def line(options="{}"):
    return parse_model_line(f"m;models/m;A model;local;false;{options}")


class Given:
    """An engine whose options multiply the seconds of a picture, and change it by so many of 255 steps."""

    def __init__(self, factors, changes=None, sizes=None):
        self.device = torch.device("cpu")
        self.now, self.drawn, self.fails = 0.0, [], {}
        self._factors, self._changes, self._sizes = factors, changes or {}, sizes or {}

    def load(self, spec, control):
        for name in self.fails.keys() & self._options(spec):
            raise OutOfMemory(self.fails[name])

    def unload(self, model_id):
        """Nothing is kept."""

    def resident_model(self, spec):
        kernels = spec.options.attention or "native"
        size = min((self._sizes.get(name, 1000) for name in self._options(spec)), default=1000)
        return SimpleNamespace(
            size=size,
            attention="native" if kernels == "sage" else kernels,
            acceleration=SimpleNamespace(refused=()),
            pipeline=SimpleNamespace(),
            checkpoint=SimpleNamespace(revision="r"),
        )

    def generate(self, spec, request, control):
        if control.cancelled():
            raise Cancelled
        names = self._options(spec)
        self.drawn.append(names)
        self.now += float(np.prod([self._factors.get(name, 1.0) for name in names]))
        picture = np.random.default_rng(request.seed).integers(40, 200, (64, 64, 3))
        changed = sum(self._changes.get(name, 0) for name in names)
        return Generation([GeneratedImage((picture + changed).astype(np.uint8), request.seed)])

    @staticmethod
    def _options(spec):
        names = ("vae_channels_last", "fuse_qkv", "cache", "attention", "layerwise_casting", "vae_tiling")
        return frozenset(name for name in names if getattr(spec.options, name))


@pytest.fixture(autouse=True)
def _tried(monkeypatch):
    monkeypatch.setattr(tuner_module, "single_options", lambda *_: TRIED)


def tuned(engine, goal="fastest-without-visible-change", deadline=None, **others):
    tuner = Tuner(engine, line(), SUBJECT, goal, deadline or Deadline(1e9), clock=lambda: engine.now, **others)
    found = tuner.run()
    return tuner, found, tuner_module.choose(found, goal)


def named(measurement):
    return set(measurement.options.model_dump(exclude_unset=True))


def test_the_better_options_are_put_together():
    _, found, best = tuned(Given({"vae_channels_last": 0.9, "fuse_qkv": 0.8, "cache": 1.2}))
    assert named(best) == {"vae_channels_last", "fuse_qkv"}
    assert best.ratio == pytest.approx(0.72)
    assert found[0].ratio == 1.0
    assert not named(found[0])


def test_options_that_are_better_alone_only_are_not_put_together():
    class Clash(Given):
        def generate(self, spec, request, control):
            made = super().generate(spec, request, control)
            self.now += 5 if {"vae_channels_last", "fuse_qkv"} <= self._options(spec) else 0
            return made

    _, _, best = tuned(Clash({"vae_channels_last": 0.9, "fuse_qkv": 0.8}))
    assert named(best) == {"fuse_qkv"}


def test_what_changes_the_picture_is_for_another_goal():
    engine = Given({"cache": 0.3, "fuse_qkv": 0.8}, changes={"cache": 40, "fuse_qkv": 1})
    _, found, best = tuned(engine)
    assert named(best) == {"fuse_qkv"}
    cached = next(each for each in found if named(each) == {"cache"})
    assert cached.change.is_visible
    _, _, best = tuned(Given({"cache": 0.3, "fuse_qkv": 0.8}, changes={"cache": 40}), goal="fastest")
    assert named(best) == {"cache", "fuse_qkv"}


def test_nothing_better_is_said_as_such():
    _, found, best = tuned(Given({"fuse_qkv": 0.99, "cache": 1.4}))
    assert best is found[0]


def test_kernels_that_were_not_used_and_what_fails_are_no_choice():
    engine = Given({"attention": 0.1, "fuse_qkv": 0.1})
    engine.fails = {"fuse_qkv": "Memory ran out."}
    _, found, best = tuned(engine)
    assert best is found[0]
    problems = {next(iter(named(each))): each.problem for each in found if each.problem}
    assert problems == {
        "attention": "the kernels sage do not work here, or not for SimpleNamespace",
        "fuse_qkv": "Memory ran out.",
    }


def test_the_least_memory_is_by_bytes():
    _, _, best = tuned(Given({}, sizes={"vae_channels_last": 700, "fuse_qkv": 600}), goal="least-memory")
    assert "fuse_qkv" in named(best)


def test_out_of_time_it_says_what_is_left_and_goes_on_later():
    engine, kept = Given({"fuse_qkv": 0.8, "vae_channels_last": 0.9}), []
    deadline = Deadline(13, clock=lambda: engine.now)
    tuner, _, _ = tuned(engine, deadline=deadline, measured=kept.append)
    assert [next(iter(named(each))) for each in kept] == ["vae_channels_last"]
    assert tuner.skipped[0] == "fuse_qkv"
    assert len(tuner.pictures_under(TunedOptions(fuse_qkv=True))) == 4  # to look at, though the time is over
    again = Given({"fuse_qkv": 0.8, "vae_channels_last": 0.9})
    tuner, _, best = tuned(again, known=kept)
    assert not tuner.skipped
    assert named(best) == {"fuse_qkv", "vae_channels_last"}
    assert {"vae_channels_last"} not in [set(names) for names in again.drawn]


def test_the_plain_model_is_drawn_however_short_the_time():
    engine = Given({})
    _, found, best = tuned(engine, deadline=Deadline(0, clock=lambda: engine.now))
    assert found == (best,)


def test_a_profile_of_before_is_not_the_plain_model():
    spec = line().model_copy(update={"tuned": ("fuse_qkv",), "tuned_for": "cpu"})
    spec = spec.model_copy(update={"options": spec.options.model_copy(update={"fuse_qkv": True})})
    engine = Given({})
    Tuner(engine, spec, SUBJECT, "fastest", Deadline(1e9), clock=lambda: engine.now).run()
    assert engine.drawn[0] == frozenset()


def test_a_line_decides_what_is_tried_and_the_family_which_caches():
    cpu = torch.device("cpu")
    free = single_options(line(), "FluxPipeline", cpu, "fastest")
    kinds = {each.cache.kind for each in free if each.cache}
    assert kinds == {"first-block", "taylorseer", "mag", "pyramid"}
    assert TunedOptions(compile="regional") in free
    assert not any(each.cache for each in single_options(line(), "StableDiffusionPipeline", cpu, "fastest"))
    fixed = single_options(line('{"compile": "none", "fuse_qkv": false}'), "FluxPipeline", cpu, "fastest")
    assert not any(each.compile or each.fuse_qkv for each in fixed)
    assert {"layerwise_casting": True} in [
        each.model_dump(exclude_unset=True) for each in single_options(line(), "FluxPipeline", cpu, "least-memory")
    ]


def test_options_that_exclude_each_other_are_not_combined():
    fused, narrow = TunedOptions(fuse_qkv=True), TunedOptions(quantization="torchao-int8-dynamic")
    assert together(fused, narrow) is None
    assert together(narrow, TunedOptions(quantization="torchao-float8-dynamic")) is None
    assert together(fused, TunedOptions(compile="regional")) == TunedOptions(fuse_qkv=True, compile="regional")


def test_similarity_is_one_for_equal_pictures_and_falls_with_structure():
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    assert (psnr(picture, picture), ssim(picture, picture)) == (None, pytest.approx(1.0))
    shifted = np.clip(picture.astype(int) + 10, 0, 255).astype(np.uint8)
    assert ssim(picture, shifted) > 0.9 > 0.2 > abs(ssim(picture, random.permutation(picture)))
    gray = np.full((32, 32, 3), 100, np.uint8)
    assert psnr(gray, gray + 5) == pytest.approx(10 * np.log10(255**2 / 25))
    measured = change([gray, gray + 5], [gray, gray])
    assert (measured.least_psnr, measured.mean_psnr) == (34.15, 34.15)
    assert not measured.is_visible


def test_measurements_survive_their_file(tmp_path):
    from app.core.tuned_profiles import TunedProfile
    from app.files.tuned_profiles import read_profile, write_profile

    _, found, best = tuned(Given({"fuse_qkv": 0.8}))
    profile = TunedProfile(
        model_id="m",
        repo="models/m",
        revision="r",
        device="cpu",
        software={"torch": "2"},
        goal="fastest",
        options=best.options,
        measured_at="2026-11-30T00:00:00Z",
        measurements=found,
    )
    write_profile(tmp_path / "p" / "m.json", profile)
    assert read_profile(tmp_path / "p" / "m.json") == profile
    assert [each.name for each in (tmp_path / "p").iterdir()] == ["m.json"]
    assert all(isinstance(each, Measurement) for each in profile.measurements)
