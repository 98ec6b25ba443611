"""Rerun of an image: the same request as a new job, warnings for what has changed, errors for what cannot
be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.core.request import GenerationInput, GenerationSettings
from app.core.rerun import differences
from app.engines.base import Generation
from app.errors import Conflict, ImageNotFound, UnknownModel
from app.services.jobs.rerun import rerun
from app.services.jobs.submit import submit
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


def pixels(harness: Harness, path: str) -> np.ndarray:
    with Image.open(harness.context.images.path(path)) as picture:
        return np.asarray(picture)


def made(harness: Harness, **settings: object) -> str:
    """The id of the second picture of a job of two."""
    wished = GenerationSettings(num_images=2, num_inference_steps=5, guidance_scale=2.0, **settings)
    asked = GenerationInput(prompt="a boat", negative_prompt="rain", model_id="fake", settings=wished)
    job_id = submit(harness.context, asked, client_id="somebody").job_id
    return harness.completed(job_id).outputs[1].id


def test_the_same_request_alone_gives_the_same_picture(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    first = harness.context.outputs.get(made(harness))
    again = harness.completed(rerun(harness.context, first.id, client_id="somebody else").job_id)
    (output,) = again.outputs
    assert (pixels(harness, output.path) == pixels(harness, first.path)).all()
    request = again.job.request
    assert (request.prompt, request.negative_prompt, request.seed) == ("a boat", "rain", first.seed)
    assert (request.num_images, request.num_inference_steps, request.guidance_scale) == (1, 5, 2.0)
    assert again.job.client_id == "somebody else"
    assert again.job.warnings == ()
    assert output.manifest["rerun_of"] == first.id


class Newer(FakeEngine):
    def generate(self, *args, **more) -> Generation:
        generation = super().generate(*args, **more)
        generation.versions["fake"] = "2"
        return generation


def test_changed_versions_become_warnings(harness: Harness, engine: FakeEngine) -> None:
    running = harness.start(engine)
    image_id = made(harness)
    running.stop()
    harness.start(Newer())
    again = harness.completed(rerun(harness.context, image_id, client_id="somebody").job_id)
    assert again.job.warnings == ("fake was 1 and is now 2: the picture may differ.",)


class Together(FakeEngine):
    def generate(self, *args, **more) -> Generation:
        generation = super().generate(*args, **more)
        generation.effective["drawn_together"] = len(generation.images)
        return generation


def test_a_merged_image_may_differ(harness: Harness) -> None:
    harness.start(Together())
    submitted = rerun(harness.context, made(harness), client_id="somebody")
    again = harness.completed(submitted.job_id)
    assert [*submitted.warnings] == [*again.job.warnings]
    assert "generated together with others" in again.job.warnings[0]


def test_only_what_both_know_is_compared() -> None:
    assert differences({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == [
        "b was 1 and is now 2: the picture may differ."
    ]


def test_a_model_that_is_gone(harness: Harness, engine: FakeEngine) -> None:
    harness.start(engine)
    image_id = made(harness)
    without = harness.open(without=["MODEL_FAKE"], DEFAULT_MODEL_ID="other")
    with pytest.raises(UnknownModel, match="fake, which is no longer in the catalogue"):
        rerun(without, image_id, client_id="somebody")


def test_an_image_without_a_manifest(harness: Harness, engine: FakeEngine, monkeypatch) -> None:
    harness.start(engine)
    output = harness.context.outputs.get(made(harness))
    output.manifest.pop("prompt")
    monkeypatch.setattr(harness.context.outputs, "get", lambda _: output)
    with pytest.raises(Conflict, match="manifest"):
        rerun(harness.context, output.id, client_id="somebody")


def test_an_unknown_picture(harness: Harness) -> None:
    with pytest.raises(ImageNotFound):
        rerun(harness.context, "0" * 32, client_id="somebody")
