"""The routes of remote models, and Replicate's webhooks, over a provider on loopback and a remote worker."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from standardwebhooks import Webhook

from app import create_app
from app.worker.loop import Worker
from tests.providers import media
from tests.providers.replicate_server import SECRET, TOKEN, Prediction, Script, StandIn
from tests.providers.schemas import document
from tests.waiting import wait_until
from tests.worker.place import Place


@pytest.fixture
def place(new_place: Callable[..., Place], settings: dict[str, str]) -> Place:
    return new_place(**settings, REPLICATE_IMAGE_MODELS="acme/sized,acme/gone", REPLICATE_VIDEO_MODELS="")


@pytest.fixture
def client(place: Place) -> FlaskClient:
    return create_app(place.installation.settings).test_client()


def run(client: FlaskClient, model: str = "acme/painter", *, media: str = "image", **input: Any) -> str:
    answer = client.post(f"/api/run-{media}-model", json={"model": model, "input": input})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json["status_url"]
    return str(answer.json["job_id"])


def ended(client: FlaskClient, job_id: str) -> dict[str, Any]:
    wait_until(
        lambda: client.get(f"/api/images/{job_id}").json["status"] in ("COMPLETED", "FAILED", "CANCELLED"),
        f"{job_id} did not end",
    )
    body: dict[str, Any] = client.get(f"/api/images/{job_id}").json
    return body


def completed(client: FlaskClient, job_id: str) -> dict[str, Any]:
    body = ended(client, job_id)
    assert body["status"] == "COMPLETED", body["error"]
    return body


# --- which there are, and what they take


def test_the_lists(client: FlaskClient, provider: StandIn) -> None:
    body = client.get("/api/image-models").json
    assert [model["model"] for model in body["models"]] == ["acme/painter", "acme/sized"], "the other is not there"
    assert body["refreshed_at"] is not None
    assert body["models"][0] | {"description": ""} == {
        "model": "acme/painter",
        "model_id": "painter",
        "name": "painter",
        "media": "image",
        "description": "",
        "cover_image_url": None,
        "run_count": 7,
        "first_frame": "image",
        "schema_url": "/api/image-models/acme/painter/schema",
    }
    (clip,) = client.get("/api/video-models").json["models"]
    assert (clip["model"], clip["first_frame"]) == ("acme/clip", "start_image")
    asked = len(provider.asked)
    client.get("/api/image-models")
    assert len(provider.asked) == asked, "it is remembered"


def test_without_a_provider(new_place: Callable[..., Place]) -> None:
    client = create_app(new_place().installation.settings).test_client()
    assert client.get("/api/image-models").json == {"models": [], "refreshed_at": None}
    answer = client.post("/api/run-image-model", json={"model": "acme/painter", "input": {}})
    assert (answer.status_code, answer.json["code"]) == (503, "model_unavailable")
    assert "REPLICATE_API_TOKEN" in answer.json["detail"]


def test_a_provider_that_is_away(client: FlaskClient, provider: StandIn) -> None:
    provider.shutdown()
    provider.server_close()
    models = client.get("/api/image-models").json
    assert [model["model"] for model in models["models"]] == ["acme/painter", "acme/sized"]
    assert models["refreshed_at"] is None
    answer = client.get("/api/image-models/acme/painter/schema")
    assert (answer.status_code, answer.json["code"]) == (502, "provider_error")


def test_a_provider_that_knows_none_of_ours_shows_its_own(new_place: Callable[..., Place], settings) -> None:
    own = {name: value for name, value in settings.items() if not name.startswith("MODEL_")}
    place = new_place(**own, REPLICATE_IMAGE_MODELS="x/y", REPLICATE_VIDEO_MODELS="")
    client = create_app(place.installation.settings).test_client()
    names = [
        [model["model"] for model in client.get(f"/api/{kind}-models").json["models"]] for kind in ("image", "video")
    ]
    assert names == [["acme/painter", "acme/sized"], ["acme/clip"]]


def test_a_schema(client: FlaskClient) -> None:
    body = client.get("/api/image-models/acme/painter/schema").json
    assert body["required"] == ["prompt"]
    assert body["defaults"]["num_inference_steps"] == 4
    assert body["files"] == ["image"]
    assert body["input_schema"]["properties"]["guidance"]["maximum"] == 10
    assert client.get("/api/video-models/acme/clip/schema").json["first_frame"] == "start_image"
    for name in ("acme/none", "acme/-"):
        missing = client.get(f"/api/image-models/{name}/schema")
        assert (missing.status_code, missing.json["code"]) == (404, "unknown_model")


def test_only_listed_ones(new_place: Callable[..., Place], settings: dict[str, str]) -> None:
    place = new_place(**settings, REPLICATE_ONLY_LISTED="true", REPLICATE_IMAGE_MODELS="acme/sized")
    client = create_app(place.installation.settings).test_client()
    run(client, "acme/sized", prompt="x")
    answer = client.post("/api/run-image-model", json={"model": "acme/other", "input": {"prompt": "x"}})
    assert (answer.status_code, answer.json["code"]) == (400, "unknown_model")


# --- asking for one


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
        "prediction_id": made.id,
        "status": "succeeded",
        "predict_seconds": 1.5,
        "download_attempted": True,
        "download_retries": 0,
        "download_error": None,
    }
    assert (body["model_id"], body["lane"], body["download_attempted"]) == ("painter", "remote", True)
    assert client.get(f"/api/status/{body['job_id']}").json["remote"] == body["remote"]
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


def test_an_unknown_input_is_left_out_and_said(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
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
    provider.add_model("acme/mover", document({"prompt": {"type": "string"}} | inputs))
    assert client.get("/api/video-models/acme/mover/schema").json["first_frame"] == name
    body = {"model": "acme/mover", "input": {"prompt": "go"}, "source_image_id": image["image_id"]}
    answer = client.post("/api/run-video-model", json=body)
    if name is None:
        assert [error["field"] for error in answer.json["errors"]] == ["source_image_id"]
        assert "takes no picture" in answer.json["detail"]
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
    provider.add_model("acme/mover", document(inputs))
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
        answer = client.post("/api/run-video-model", json={"model": "acme/mover", "input": input} | more)
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
    assert "begins with the whole of it" in answer.json["warnings"][0]
    done = completed(client, answer.json["job_id"])
    assert (done["task"], done["images"][0]["media"]) == ("img2video", "video")
    (made,) = provider.created_for("it sails")
    assert made.input["start_image"].removeprefix(f"{provider.url}/files/") in provider.files
    manifest = client.get(done["images"][0]["metadata_url"]).json["manifest"]
    assert manifest["inputs"]["image"]["image_id"] == image["image_id"]


def test_a_source_that_cannot_be_one(client: FlaskClient, provider: StandIn, worker: Worker) -> None:
    provider.scripts["moves"] = Script(files=(media.video(),))
    provider.add_model("acme/silent", {})
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
        ({"model": "acme/silent"}, "name its input"),
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


def test_what_a_clients_own_webhook_is_told(client: FlaskClient, place: Place, worker: Worker) -> None:
    body = {"model": "acme/painter", "input": {"prompt": "told"}, "webhook_url": "https://8.8.8.8/hook"}
    completed(client, client.post("/api/run-image-model", json=body).json["job_id"])
    with place.installation.database.read() as connection:
        (payload,) = connection.exec_driver_sql("SELECT payload FROM webhook_deliveries").scalars()
    remote = json.loads(payload)["data"]["remote"]
    assert (remote["status"], remote["download_attempted"], remote["predict_seconds"]) == ("succeeded", True, 1.5)


@pytest.mark.parametrize("seed", [-1, 10**30, 77])
def test_seeds_that_mean_none_or_cannot_be_kept(
    client: FlaskClient, provider: StandIn, worker: Worker, seed: int
) -> None:
    (image,) = completed(client, run(client, prompt="seeded", seed=seed))["images"]
    (made,) = provider.created_for("seeded")
    assert 0 <= image["seed"] < 2**53
    assert made.input["seed"] == (10**30 if seed == 10**30 else image["seed"])


# --- webhooks


@pytest.fixture
def hooked(new_place: Callable[..., Place], settings: dict[str, str], provider: StandIn, hire, monkeypatch) -> Hooked:
    """A worker that only ever hears by webhook, and a provider whose messages the test delivers."""
    monkeypatch.setattr("app.engines.replicate.following.POLL_PAUSES_WITH_WEBHOOK", (3600.0,))
    place = new_place(**settings, PUBLIC_URL="https://pictures.example")
    hire(place)
    return Hooked(place, create_app(place.installation.settings).test_client(), provider)


class Hooked:
    def __init__(self, place: Place, client: FlaskClient, provider: StandIn) -> None:
        self.place = place
        self.client = client
        self.provider = provider
        provider.deliver = self.deliver  # type: ignore[method-assign]

    def run(self, prompt: str) -> tuple[str, Prediction]:
        self.provider.scripts.setdefault(prompt, Script(webhooks=()))
        job_id = run(self.client, prompt=prompt)
        wait_until(lambda: self.provider.created_for(prompt), "it was never asked")
        (made,) = self.provider.created_for(prompt)
        assert made.webhook is not None
        wait_until(lambda: made.status in ("succeeded", "failed"), "it never ended")
        return job_id, made

    def deliver(self, url: str, text: str, *, secret: str = SECRET, at: float | None = None) -> int:
        when = datetime.fromtimestamp(at or time.time(), UTC)
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(when.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", when, text),
            "Content-Type": "application/json",
            "Host": "pictures.example",
        }
        path = url.removeprefix("https://pictures.example")
        return self.client.post(path, data=text, headers=headers).status_code


def test_a_webhook_ends_it(hooked: Hooked) -> None:
    job_id, made = hooked.run("told")
    assert hooked.client.get(f"/api/status/{job_id}").json["status"] == "PROCESSING"
    assert hooked.provider.tell(made, "end") == 200
    completed(hooked.client, job_id)
    assert ("GET", f"/v1/predictions/{made.id}") not in hooked.provider.asked


def test_webhooks_twice_late_and_out_of_order(hooked: Hooked) -> None:
    job_id, made = hooked.run("often")
    told = [hooked.provider.tell(made, what) for what in ("end", "starting", "processing", "end", "end")]
    assert told == [200] * 5
    before = completed(hooked.client, job_id)
    assert len(hooked.provider.fetched) == 1
    assert hooked.provider.tell(made, "processing") == 200
    made.status, made.script.error = "failed", "changed its mind"
    assert hooked.provider.tell(made, "end") == 200
    assert completed(hooked.client, job_id) == before


def test_webhook_and_poll_together_fetch_once(hooked: Hooked, monkeypatch) -> None:
    monkeypatch.setattr("app.engines.replicate.following.POLL_PAUSES_WITH_WEBHOOK", (0.01,))
    for number in range(5):
        job_id, made = hooked.run(f"race {number}")
        threads = [threading.Thread(target=hooked.provider.tell, args=(made, "end")) for _ in range(4)]
        for thread in threads:
            thread.start()
        completed(hooked.client, job_id)
        for thread in threads:
            thread.join()
    assert len(hooked.provider.fetched) == 5


def test_a_webhook_brings_the_id_that_a_crash_lost(hooked: Hooked) -> None:
    installation = hooked.place.installation
    hooked.provider.scripts["lost"] = Script(webhooks=())
    job_id = run(hooked.client, prompt="lost")
    wait_until(lambda: installation.predictions.of_job(job_id), "never intended")
    prediction = installation.predictions.of_job(job_id)
    assert prediction is not None
    url = f"https://pictures.example/api/webhooks/replicate?prediction={prediction.id}"
    early = {"id": "early", "status": "starting", "input": {}}
    assert hooked.deliver(url, json.dumps(early)) in (200, 404)  # 404: the worker was quicker
    assert hooked.deliver(url, json.dumps(early | {"id": "another"})) == 404


@pytest.mark.parametrize("what", ["another key", "too old", "of the future", "changed", "unsigned", "nonsense"])
def test_messages_that_are_not_believed(hooked: Hooked, what: str) -> None:
    job_id, made = hooked.run("forged")
    body = json.dumps(made.body(hooked.provider))
    before = hooked.client.get(f"/api/status/{job_id}").json["remote"]
    answers = {
        "another key": lambda: hooked.deliver(made.webhook, body, secret="whsec_" + "WFla" * 10),
        "too old": lambda: hooked.deliver(made.webhook, body, at=time.time() - 400),
        "of the future": lambda: hooked.deliver(made.webhook, body, at=time.time() + 400),
        "changed": lambda: (
            hooked.client.post(
                "/api/webhooks/replicate",
                data=body,
                headers={"webhook-id": "m", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"},
            ).status_code
        ),
        "unsigned": lambda: hooked.client.post("/api/webhooks/replicate", data=body).status_code,
        "nonsense": lambda: (
            hooked.client.post(
                "/api/webhooks/replicate", data=b"\xff", headers={"webhook-signature": "x", "webhook-timestamp": "y"}
            ).status_code
        ),
    }
    assert answers[what]() == 401
    assert hooked.client.get(f"/api/status/{job_id}").json["remote"] == before
    assert hooked.provider.tell(made, "end") == 200
    completed(hooked.client, job_id)


def test_what_is_not_ours_leaves_no_trace(hooked: Hooked, caplog) -> None:
    url = "https://pictures.example/api/webhooks/replicate"
    text = json.dumps({"id": "somebody elses", "status": "succeeded", "output": None})
    assert hooked.deliver(url, text) == 404
    assert hooked.deliver(f"{url}?prediction={'0' * 32}", text) == 404
    assert hooked.deliver(url, json.dumps({"hello": "world"})) == 400
    assert "somebody elses" not in caplog.text
    assert hooked.place.installation.predictions.taken("replicate", ["somebody elses"]) == set()


def test_the_key_is_asked_for_when_none_is_set(new_place, settings: dict[str, str], provider: StandIn) -> None:
    place = new_place(**settings | {"REPLICATE_WEBHOOK_SECRET": ""}, PUBLIC_URL="https://pictures.example")
    hooked = Hooked(place, create_app(place.installation.settings).test_client(), provider)
    text = json.dumps({"id": "x", "status": "succeeded"})
    for _ in range(2):
        assert hooked.deliver("https://pictures.example/api/webhooks/replicate", text) == 404
    assert provider.asked.count(("GET", "/v1/webhooks/default/secret")) == 1
