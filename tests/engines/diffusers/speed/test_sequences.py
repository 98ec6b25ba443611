"""No state of one job in the next: random sequences of jobs on models with random options, each compared with the same
job as the first one of a new engine."""

from __future__ import annotations

import dataclasses
import random
from functools import cache

import numpy as np
import pytest

from app.engines.diffusers.engine import DiffusersEngine
from app.errors import Cancelled
from tests.engines.diffusers.generate.control import Recorder

STEPS = 5
OPTIONS = {
    "plain": {},
    "first-block": {"cache": {"kind": "first-block", "threshold": 0.5}, "vae_channels_last": True},
    "taylorseer": {"cache": {"kind": "taylorseer", "interval": 3}, "fuse_qkv": True},
    "mag": {"cache": {"kind": "mag", "threshold": 1.0}},
    "pyramid": {"cache": {"kind": "pyramid", "interval": 2}, "attention": "_native_math"},
    "layout": {"fuse_qkv": True, "vae_channels_last": True},
    "compiled": {"compile": "regional", "fuse_qkv": True, "cache": {"kind": "first-block", "threshold": 0.5}},
}
COMPILED = ["compiled"]
OTHERS = [name for name in OPTIONS if name not in COMPILED]
JOBS = {
    "words": {},
    "wide": {"width": 96},
    "two pictures": {"num_images": 2},
    "true guidance": {"true_cfg_scale": 2.0, "negative_prompt": "blue"},
    "a LoRA": {"loras": [{"id": "style"}]},
    "a picture": {"task": "img2img", "strength": 0.8},
}
ENDED = ("cancelled", "failed", "merged")  # their pictures are not looked at
START = {"image": np.full((64, 64, 3), 90, np.uint8)}


class Fails(Recorder):
    """As a device that fails within a step."""

    def report(self, phase, step=0, total_steps=0):
        super().report(phase, step, total_steps)
        if step == 3:
            raise RuntimeError("shapes cannot be multiplied")


@pytest.fixture
def perform(ask):
    def one(engine, spec, job):
        asked = ask(num_inference_steps=STEPS, **JOBS.get(job, {}))
        if job == "cancelled":
            with pytest.raises(Cancelled):
                engine.generate(spec, asked, Recorder(cancel_at=3))
        elif job == "failed":
            with pytest.raises(RuntimeError):
                engine.generate(spec, asked, Fails())
        elif job == "merged":
            engine.load(spec, Recorder())
            if engine.merges(spec):
                engine.generate_merged(spec, [asked, asked.model_copy(update={"seed": 8})], [Recorder(), Recorder()])
        else:
            inputs = START if JOBS[job].get("task") else {}
            return [image.pixels for image in engine.generate(spec, asked, Recorder(), inputs).images]
        return None

    return one


@pytest.mark.parametrize(("seed", "names", "length"), [(0, OTHERS, 20), (1, OTHERS, 20), (2, COMPILED, 6)])
def test_no_job_leaves_anything_for_the_next(settings, loras, spec_of, perform, traced, seed, names, length):
    settings = dataclasses.replace(settings, loras_dir=loras)
    specs = {
        name: spec_of("flux", **options).model_copy(update={"id": name.replace(" ", "-")})
        for name, options in OPTIONS.items()
    }

    @cache
    def alone(name, job):
        """As the first job of a new engine, without the compiler: here it runs what it traced as it is."""
        plain = spec_of("flux", **{key: value for key, value in OPTIONS[name].items() if key != "compile"})
        return perform(DiffusersEngine(settings), plain, job)

    choose = random.Random(seed)
    engine = DiffusersEngine(settings)
    jobs = [(choose.choice(names), choose.choice([*JOBS, *ENDED])) for _ in range(length)]
    for name, job in [*jobs, *((name, "words") for name in names)]:
        made = perform(engine, specs[name], job)
        if made is not None:
            for one, other in zip(made, alone(name, job), strict=True):
                assert np.array_equal(one, other), (name, job, jobs)
