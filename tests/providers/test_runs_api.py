"""The routes that run a provider's models, with a provider on loopback and a remote worker."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.worker.loop import Worker
from tests.providers import media
from tests.providers.client import completed, ended, run
from tests.providers.replicate_server import TOKEN, Script, StandIn
from tests.providers.schemas import document
from tests.waiting import wait_until
from tests.worker.harness import Harness


def test_a_picture_in_the_models_own_words(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    body = completed(client, run(client, prompt="a boat", num_outputs="1", guidance=2))
    (image,) = body["images"]
    assert client.get(image["url"]).mimetype == "image/png"
    (made,) = provider.created_for("a boat")
    assert made.input == {
        "prompt": "a boat",
        "num_outputs": 1,
        "num_inference_steps": 4,
        "guidance": 2,
        "go_fast": True,
        "aspect_ratio": "1:1",
        "output_format": "webp",
        "seed": image["seed"],
    }
    assert body["remote"] == {
        "source": "replicate",
        "model": "acme/painter",
        "input": made.input,
        "native_input": True,
        "requested": {name: value for name, value in made.input.items() if name != "seed"},
        "prediction_id": made.id,
        "status": "succeeded",
        "predict_seconds": 1.5,
        "download_attempted": True,
        "download_retries": 0,
        "download_error": None,
    }
    assert (body["model_id"], body["lane"], body["download_attempted"]) == ("painter", "remote", True)
    assert client.get(f"/api/status/{body['job_id']}").json["remote"] == body["remote"]
    assert client.get(image["metadata_url"]).json["manifest"]["input"] == body["remote"]["requested"]
    assert TOKEN not in json.dumps(body)


def test_a_model_that_is_in_no_list(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.add_model("Someone/Else_1", {})
    body = completed(client, run(client, "Someone/Else_1", prompt="whatever", strange=[1]))
    assert body["model_id"] == "someone/else_1"
    assert provider.created_for("whatever")[0].input == {"prompt": "whatever", "strange": [1]}
    found = client.get("/api/images?model=someone/else_1").json["images"]
    assert [image["job_id"] for image in found] == [body["job_id"]]


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        ({"model": "acme/painter", "input": {}}, "invalid_request", ["input.prompt"]),
        ({"model": "acme/painter", "input": {"prompt": ""}}, "invalid_request", ["input.prompt"]),
        ({"model": "acme/painter", "input": {"prompt": " \n"}}, "invalid_request", ["input.prompt"]),
        (
            {"model": "acme/painter", "input": {"prompt": 1, "num_outputs": 9, "image": "nowhere"}},
            "invalid_request",
            ["input.image", "input.num_outputs", "input.prompt"],
        ),
        ({"model": "acme/painter", "input": {"prompt": "x", "image": "0" * 32}}, "invalid_request", ["input.image"]),
        ({"model": "acme/painter", "input": {"prompt": "nul\0"}}, "invalid_request", ["input.prompt"]),
        ({"model": "acme/painter", "input": {"prompt": "x" * 10_001}}, "invalid_request", ["input.prompt"]),
        (
            {"model": "acme/painter", "input": {"prompt": "<script>alert(1)</script>"}},
            "suspicious_input",
            ["prompt"],
        ),
        ({"model": "acme/none", "input": {"prompt": "x"}}, "unknown_model", ["model"]),
        ({"model": "no slash", "input": {"prompt": "x"}}, "unknown_model", ["model"]),
        ({"model": "acme/painter"}, "invalid_request", ["input"]),
        ({"input": {"prompt": "x"}}, "invalid_request", ["model"]),
    ],
)
def test_what_is_refused(client: FlaskClient, provider: StandIn, body: object, code: str, fields: list[str]) -> None:
    answer = client.post("/api/run-image-model", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, code), answer.text
    assert sorted(error["field"] for error in answer.json["errors"]) == fields
    assert provider.predictions == {}


def test_an_unknown_input_is_left_out_with_a_warning(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    answer = client.post("/api/run-image-model", json={"model": "acme/painter", "input": {"prompt": "x", "promt": "y"}})
    assert answer.json["warnings"] == ["acme/painter has no input 'promt'; it was not used."]
    completed(client, answer.json["job_id"])
    assert "promt" not in provider.created_for("x")[0].input


def test_the_same_key_makes_no_second_job(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    body = {"model": "acme/painter", "input": {"prompt": "once"}}
    answers = [client.post("/api/run-image-model", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json == answers[1].json
    completed(client, answers[0].json["job_id"])
    assert len(provider.created_for("once")) == 1
    other = client.post("/api/run-image-model", json=body | {"priority": 1}, headers={"Idempotency-Key": "k"})
    assert other.json["code"] == "idempotency_conflict"


def test_a_video_from_a_picture_of_the_gallery(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.scripts["it moves"] = Script(files=(media.video(),))
    (image,) = completed(client, run(client, prompt="a still"))["images"]
    answer = run(client, "acme/clip", media="video", prompt="it moves", start_image=image["image_id"])
    (video,) = completed(client, answer)["images"]
    assert (video["media"], video["mime_type"]) == ("video", "video/mp4")
    (made,) = provider.created_for("it moves")
    name = made.input["start_image"].removeprefix(f"{provider.url}/files/")
    assert provider.files[name] == client.get(image["url"]).data
    part = client.get(video["url"], headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.data), part.mimetype) == (206, 10, "video/mp4")
    assert client.get(video["thumbnail_url"]).mimetype == "image/webp"
    (listed,) = client.get("/api/videos").json["images"]
    assert (listed["image_id"], listed["media"], listed["mime_type"]) == (video["image_id"], "video", "video/mp4")
    assert client.get(f"/api/videos/{answer}").json["job_id"] == answer
    assert client.delete(video["url"]).status_code == 204
    assert client.get(video["url"]).status_code == 410


PICTURE = {"type": "string", "format": "uri"}


@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"image": PICTURE}, "image"),
        ({"last_frame_image": PICTURE, "image": PICTURE, "first_frame_image": PICTURE}, "first_frame_image"),
        ({"end_image": PICTURE, "mask": PICTURE, "conditioning_image_url": PICTURE}, "conditioning_image_url"),
        ({"input_images": {"type": "array", "items": PICTURE}}, "input_images"),
        ({"frame": {"allOf": [PICTURE], "nullable": True}}, "frame"),
        ({"image": {"type": "boolean"}, "end_image": PICTURE}, None),
    ],
)
def test_the_first_frame_whatever_it_is_called(
    client: FlaskClient, provider: StandIn, worker: Worker, inputs: dict[str, Any], name: str | None
) -> None:
    (image,) = completed(client, run(client, prompt="a still"))["images"]
    provider.add_model("acme/video-mover", document({"prompt": {"type": "string"}} | inputs))
    assert client.get("/api/video-models/acme/video-mover/schema").json["first_frame"] == name
    body = {"model": "acme/video-mover", "input": {"prompt": "go"}, "source_image_id": image["image_id"]}
    answer = client.post("/api/run-video-model", json=body)
    if name is None:
        assert [error["field"] for error in answer.json["errors"]] == ["source_image_id"]
        assert "has no input for a picture" in answer.json["detail"]
        return
    wait_until(lambda: provider.created_for("go"), "it was never asked")
    (made,) = provider.created_for("go")
    given = made.input[name][0] if name == "input_images" else made.input[name]
    assert provider.files[given.removeprefix(f"{provider.url}/files/")] == client.get(image["url"]).data
    assert set(made.input) == {"prompt", name}


def test_the_manifest_names_the_picture_that_a_video_began_with(
    client: FlaskClient, provider: StandIn, worker: Worker
) -> None:
    provider.scripts |= dict.fromkeys(("it moves", "it rests"), Script(files=(media.video(),)))
    inputs = {"prompt": {"type": "string"}, "start_image": {"type": "string", "format": "uri"}}
    provider.add_model("acme/video-mover", document(inputs))
    (image,) = completed(client, run(client, prompt="a still"))["images"]
    uri = "data:image/png;base64," + base64.b64encode(media.picture()).decode()
    cases = (
        ({"source_image_id": image["image_id"]}, "it moves", "img2video"),
        ({}, "it moves", "img2video"),
        ({}, "it rests", "txt2video"),
        ({}, "it moves", "img2video"),
    )
    for (more, prompt, task), start in zip(cases, (None, image["image_id"], None, uri), strict=True):
        input = {"prompt": prompt} | ({"start_image": start} if start else {})
        answer = client.post("/api/run-video-model", json={"model": "acme/video-mover", "input": input} | more)
        done = completed(client, answer.json["job_id"])
        (video,) = done["images"]
        manifest = client.get(video["metadata_url"]).json["manifest"]
        assert (done["task"], manifest["task"]) == (task, task)
        ours = task == "img2video" and start != uri
        named = {"image_id": image["image_id"], "sha256": image["sha256"], "width": 48, "height": 48}
        assert manifest["inputs"] == done["inputs"] == ({"image": named} if ours else {})
        mark = "trainedAlgorithmicMedia" if task == "txt2video" else "compositeWithTrainedAlgorithmicMedia"
        assert manifest["digital_source_type"].endswith(f"/{mark}")


def test_a_video_in_our_words_begins_with_a_picture_too(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.scripts["it sails"] = Script(files=(media.video(),))
    (image,) = completed(client, run(client, prompt="a still"))["images"]
    clip = next(model for model in client.get("/api/models").json["models"] if model["id"] == "clip")
    assert (clip["tasks"], clip["media"], clip["lane"]) == (["txt2video", "img2video"], "video", "remote")
    body = {"prompt": "it sails", "model_id": "clip", "image": image["image_id"], "settings": {"strength": 0.5}}
    answer = client.post("/api/generate", json=body)
    assert "keeps its start image unchanged" in answer.json["warnings"][0]
    done = completed(client, answer.json["job_id"])
    assert (done["task"], done["images"][0]["media"]) == ("img2video", "video")
    (made,) = provider.created_for("it sails")
    assert made.input["start_image"].removeprefix(f"{provider.url}/files/") in provider.files
    manifest = client.get(done["images"][0]["metadata_url"]).json["manifest"]
    assert manifest["inputs"]["image"]["image_id"] == image["image_id"]


def test_a_source_that_cannot_be_one(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.scripts["moves"] = Script(files=(media.video(),))
    provider.add_model("acme/silent-video", {})
    (image,) = completed(client, run(client, prompt="a still"))["images"]
    asked = {"model": "acme/clip", "input": {"prompt": "moves"}, "source_image_id": image["image_id"]}
    key = {"Idempotency-Key": "moves"}
    first = client.post("/api/run-video-model", json=asked, headers=key)
    (video,) = completed(client, first.json["job_id"])["images"]
    cases = [
        ({"input": {"prompt": "x", "start_image": image["image_id"]}}, "twice: `input.start_image`"),
        ({"source_image_id": "0" * 32}, "no image with this id"),
        ({"source_image_id": video["image_id"]}, "is a video"),
        ({"source_image_id": "../etc"}, "match"),
        ({"model": "acme/silent-video"}, "does not publish its inputs"),
    ]
    for wrong, words in cases:
        answer = client.post("/api/run-video-model", json=asked | wrong)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_request"), answer.text
        assert [error["field"] for error in answer.json["errors"]] == ["source_image_id"]
        assert words in answer.json["errors"][0]["message"]
    assert client.post("/api/run-video-model", json=asked, headers=key).json == first.json
    other = client.post("/api/run-video-model", json=asked | {"source_image_id": "0" * 32}, headers=key)
    assert other.json["code"] == "idempotency_conflict"


def test_a_failed_one_shows_why_and_is_retried(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.scripts["bad"] = Script(ends="failed", error="NSFW content detected")
    job_id = run(client, prompt="bad")
    assert ended(client, job_id)["error"] == {"code": "provider_error", "message": "NSFW content detected"}
    (shown,) = client.get("/api/images?status=FAILED").json["images"]
    assert shown["error"]["message"] == "NSFW content detected"
    del provider.scripts["bad"]
    assert client.post(f"/api/jobs/{job_id}/retry").status_code == 200
    completed(client, job_id)
    metrics = client.get("/metrics").text
    for outcome in ("failed", "succeeded"):
        line = f'cyberimage_remote_predictions_total{{model="painter",outcome="{outcome}",provider="replicate"}} 1.0'
        assert line in metrics
    assert 'cyberimage_remote_predict_seconds_total{model="painter",provider="replicate"} 3.0' in metrics


def test_the_message_to_a_clients_webhook(client: FlaskClient, harness: Harness, worker: Worker) -> None:
    body = {"model": "acme/painter", "input": {"prompt": "told"}, "webhook_url": "https://8.8.8.8/hook"}
    completed(client, client.post("/api/run-image-model", json=body).json["job_id"])
    with harness.context.database.read() as connection:
        (payload,) = connection.exec_driver_sql("SELECT payload FROM webhook_deliveries").scalars()
    remote = json.loads(payload)["data"]["remote"]
    assert (remote["status"], remote["download_attempted"], remote["predict_seconds"]) == ("succeeded", True, 1.5)


@pytest.mark.parametrize("seed", [-1, 10**30, 77])
def test_seeds_that_mean_none_or_cannot_be_kept(
    client: FlaskClient, provider: StandIn, worker: Worker, seed: int
) -> None:
    (image,) = completed(client, run(client, prompt="seeded", seed=seed))["images"]
    (made,) = provider.created_for("seeded")
    if seed == 10**30:
        assert (made.input["seed"], image["seed"]) == (seed, None), "no JSON parser keeps it"
    else:
        assert made.input["seed"] == image["seed"] >= 0
