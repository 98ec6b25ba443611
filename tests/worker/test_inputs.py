"""A job's input images reach the engine unchanged, in every attempt."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from sqlalchemy import text

from app.core.job import JobStatus
from app.core.request import GenerationInput
from app.errors import ModelDownloadFailed
from app.services.jobs.submit import submit
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness


def send(harness: Harness, prompt: str = "a boat") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(buffer, "PNG")
    asked = GenerationInput(prompt=prompt, model_id="fake", image=base64.b64encode(buffer.getvalue()).decode())
    return submit(harness.context, asked, client_id="somebody").job_id


@pytest.mark.usefixtures("hurried")
def test_every_attempt_gets_the_input_images(harness: Harness, engine: FakeEngine) -> None:
    engine.behaviours["a boat"] = fails(ModelDownloadFailed("not now"), times=1)
    job_id = send(harness)
    harness.start(engine)
    seen = harness.completed(job_id)
    assert seen.job.attempt == 2
    assert [set(inputs) for inputs in engine.inputs] == [{"image"}, {"image"}]
    for inputs in engine.inputs:
        assert inputs["image"].shape == (64, 64, 3)
        assert (inputs["image"] == (1, 2, 3)).all()
    manifest = seen.outputs[0].manifest
    assert manifest["task"] == "img2img"
    assert manifest["inputs"]["image"]["sha256"] == seen.job.request.pictures[0].sha256
    assert manifest["settings"]["strength"] == 0.75


def test_a_job_without_its_input_image_fails(harness: Harness, engine: FakeEngine) -> None:
    job_id = send(harness)
    with harness.context.database.write() as connection:
        connection.execute(text("DELETE FROM inputs"))
    harness.start(engine)
    seen = harness.ended(job_id)
    assert seen.job.status is JobStatus.FAILED
    assert "The image of this job is no longer in the database" in seen.job.error_message
    assert engine.ran == []
