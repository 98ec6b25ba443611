"""What is reported of a provider's pictures and videos is what was sent: in the status, the lists and the files."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from app.worker.loop import Worker
from tests.providers import media
from tests.providers.client import completed, ended, run
from tests.providers.replicate_server import Script, StandIn
from tests.providers.schemas import document
from tests.worker.harness import Harness

FACTS = ("seed", "num_inference_steps", "guidance_scale", "num_images", "num_frames", "fps", "strength")


@pytest.fixture
def settings(settings: dict[str, str], provider: StandIn) -> dict[str, str]:
    provider.add_model("acme/plain", document({"prompt": {"type": "string"}}))
    provider.add_model("acme/plain-video", document({"prompt": {"type": "string"}}))
    lines = {
        "MODEL_PLAIN": "plain;acme/plain;Plain;replicate;false",
        "MODEL_FILM": 'film;acme/plain-video;Film;replicate;false;{"media": "video"}',
    }
    return settings | lines


def _facts(settings: dict[str, Any]) -> set[Any]:
    return {settings[name] for name in FACTS if name in settings}


@pytest.mark.parametrize(("model", "kind"), [("plain", "image"), ("film", "video")])
def test_a_model_that_takes_only_a_prompt(
    client: FlaskClient, harness: Harness, provider: StandIn, worker: Worker, caplog, model: str, kind: str
) -> None:
    caplog.set_level(logging.INFO, "cyberimage.jobs")
    files = (media.picture(), media.picture("JPEG")) if kind == "image" else (media.video(),)
    provider.scripts["cats"] = Script(files=files)
    body = {"prompt": "cats", "negative_prompt": "dogs", "model_id": model, "settings": {"seed": 3, "num_images": 2}}
    job = completed(client, client.post("/api/generate", json=body).json["job_id"])
    assert provider.created_for("cats")[0].input == {"prompt": "cats"}
    assert (job["negative_prompt"], _facts(job["settings"])) == (None, {None})
    assert [image["seed"] for image in job["images"]] == [None] * len(files)
    assert job["progress"]["total_steps"] in (0, 4), "the provider's own count, if it was asked in time"
    listed = client.get("/api/images").json["images"] + client.get("/api/videos").json["images"]
    assert {item["seed"] for item in listed} == {None}
    assert "seed=null" in caplog.text
    for image in job["images"]:
        manifest = client.get(image["metadata_url"]).json["manifest"]
        assert (manifest["negative_prompt"], _facts(manifest["settings"])) == (None, {None})
        assert (manifest["settings"]["width"], "native_input" in manifest) == (48, False)
    if kind == "image":
        (output, _) = harness.view(job["job_id"]).outputs
        with Image.open(harness.context.images.path(output.path)) as picture:
            lines = picture.text["parameters"].splitlines()
        assert lines[0] == "cats"
        assert lines[1].startswith("Size: 48x48, Model: plain, Version: ")
        assert json.loads(picture.text["cyberimage"])["settings"]["seed"] is None


def test_every_picture_of_a_prediction_has_the_seed_that_was_sent(
    client: FlaskClient, provider: StandIn, worker: Worker
) -> None:
    provider.scripts["two"] = Script(files=(media.picture(), media.picture("JPEG")))
    job = completed(client, run(client, prompt="two", num_outputs=2, seed=11))
    assert [image["seed"] for image in job["images"]] == [11, 11]
    assert (job["settings"]["seed"], job["settings"]["num_images"], job["settings"]["guidance_scale"]) == (11, 2, 3.5)
    manifest = client.get(job["images"][1]["metadata_url"]).json["manifest"]
    assert (manifest["settings"]["seed"], manifest["settings"]["num_images"], manifest["native_input"]) == (11, 2, True)
    metrics = client.get("/metrics").text
    assert 'cyberimage_steps_total{model="painter"}' not in metrics.replace('painter"} 0.0', "")


def test_a_failed_generation_lists_nothing_that_was_not_sent(
    client: FlaskClient, provider: StandIn, worker: Worker
) -> None:
    provider.scripts["bad"] = Script(ends="failed", error="no")
    body = {"prompt": "bad", "model_id": "plain", "settings": {"width": 512, "height": 512}}
    job = ended(client, client.post("/api/generate", json=body).json["job_id"])
    assert (_facts(job["settings"]), job["settings"]["width"]) == ({None}, None)
    (item,) = client.get("/api/images?status=FAILED").json["images"]
    assert (item["seed"], item["width"], item["height"]) == (None, None, None)


def test_the_synchronous_interface_has_no_seed_either(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    answer = client.post("/v1/generate/txt2img", json={"prompt": "cats", "model_id": "plain"})
    assert (answer.status_code, answer.json["seed"]) == (200, None)
    picture = client.post("/v1/inference/plain", json={"inputs": "cats"})
    assert (picture.status_code, "X-Seed" in picture.headers) == (200, False)
