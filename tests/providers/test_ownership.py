"""Gallery pictures in inputs of remote models: only those that the client may see are uploaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.core.request import GenerationRequest, RemoteCall
from app.errors import Conflict, ImageNotFound
from app.services.jobs.rerun import rerun
from app.worker.loop import Worker
from tests.api.native.keyed import Keyed
from tests.providers.client import completed, ended, run
from tests.providers.replicate_server import StandIn
from tests.providers.schemas import document
from tests.worker.harness import Harness

TEXT = {"type": "string"}


@pytest.fixture
def harness(new_harness: Callable[..., Harness], settings: dict[str, str]) -> Harness:
    return new_harness(**settings, AUTH_MODE="keys")


@pytest.fixture
def people(harness: Harness) -> Keyed:
    return Keyed(create_app(harness.context.settings))


@pytest.fixture
def bobs_image(people: Keyed, worker: Worker) -> str:
    """The id of one of Bob's pictures."""
    return str(completed(people.bob, run(people.bob, prompt="a still"))["images"][0]["image_id"])


def _ways(image_id: str) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """Schema, input, and the field that names the picture."""
    reference = f"cyberimage://image/{image_id}"
    nested = {"prompt": TEXT, "scene": {"type": "object"}, "shots": {"type": "array"}, "picture": TEXT}
    return [
        ({}, {"image": reference}, "input.image"),
        ({}, {"images": ["https://x.example/a.png", reference]}, "input.images.1"),
        ({}, {"scene": {"layers": [{"source": reference}]}}, "input.scene.layers.0.source"),
        (document(nested), {"picture": reference}, "input.picture"),
        (document(nested), {"scene": {"start": reference}}, "input.scene.start"),
        (document(nested), {"shots": [[reference]]}, "input.shots.0.0"),
        (document({"prompt": TEXT, "image": TEXT | {"format": "uri"}}), {"image": image_id}, "input.image"),
    ]


@pytest.mark.parametrize("way", range(7))
def test_a_picture_of_another_client_is_not_uploaded(
    people: Keyed, provider: StandIn, bobs_image: str, way: int
) -> None:
    schema, input, field = _ways(bobs_image)[way]
    provider.add_model("acme/taker", schema)
    uploaded = dict(provider.files)
    body = {"model": "acme/taker", "input": {"prompt": "steal", **input}}
    answer = people.alice.post("/api/run-image-model", json=body)
    assert answer.status_code == 400, answer.text
    assert [(wrong["field"], wrong["message"]) for wrong in answer.json["errors"]] == [
        (field, "There is no image with this id.")
    ]
    assert provider.created_for("steal") == []
    assert provider.files == uploaded


@pytest.mark.parametrize("way", range(7))
def test_ones_own_picture_and_an_administrators_are(
    people: Keyed, provider: StandIn, bobs_image: str, way: int
) -> None:
    schema, input, _ = _ways(bobs_image)[way]
    provider.add_model("acme/taker", schema)
    picture = people.bob.get(f"/api/image/{bobs_image}").data
    for who, prompt in ((people.bob, "mine"), (people.root, "any")):
        completed(who, run(who, "acme/taker", prompt=prompt, **input))
        (made,) = provider.created_for(prompt)
        assert bobs_image not in str(made.input)
        assert any(f"{provider.url}/files/{name}" in str(made.input) for name, data in provider.files.items()
                   if data == picture)  # fmt: skip


@pytest.mark.parametrize("reference", ["cyberimage://image/", "cyberimage://image/../x", "cyberimage://image/\ud800"])
def test_a_reference_that_is_none(people: Keyed, provider: StandIn, reference: str) -> None:
    provider.add_model("acme/taker", {})
    body = json.dumps({"model": "acme/taker", "input": {"prompt": "x", "deep": [{"image": reference}]}})
    answer = people.alice.post("/api/run-image-model", data=body, content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert answer.json["errors"][0]["field"] == "input.deep.0.image"


def test_a_removed_picture_of_another_client_is_not_found(people: Keyed, provider: StandIn, bobs_image: str) -> None:
    provider.add_model("acme/taker", {})
    assert people.bob.delete(f"/api/image/{bobs_image}").status_code == 204
    for image_id in (bobs_image, "0" * 32):
        body = {"model": "acme/taker", "input": {"prompt": "x", "image": f"cyberimage://image/{image_id}"}}
        answer = people.alice.post("/api/run-image-model", json=body)
        assert answer.json["errors"] == [{"field": "input.image", "message": "There is no image with this id."}]


def test_a_worker_uploads_only_what_was_admitted(
    people: Keyed, harness: Harness, provider: StandIn, bobs_image: str
) -> None:
    """Even if a job's row was changed: pictures that were not admitted with the job are not read when it runs."""
    provider.add_model("acme/taker", {})
    input = {"prompt": "later", "deep": {"image": f"cyberimage://image/{bobs_image}"}}
    call = RemoteCall(source="replicate", model="acme/taker", input=input)
    request = GenerationRequest(model_id="acme/taker", prompt="later", num_inference_steps=1, seed=1, remote=call)
    uploaded = dict(provider.files)
    job, _ = harness.context.jobs.enqueue(
        request, client_id=people.ids["alice"], lane="remote", max_attempts=3, idempotency=None
    )
    harness.context.notifications.publish("work")
    body = ended(people.alice, job.id)
    assert (body["status"], body["error"]["code"]) == ("FAILED", "invalid_request")
    assert provider.files == uploaded
    assert provider.created_for("later") == []


def test_a_job_that_waited_for_this_version_uploads_what_is_its_owners(
    people: Keyed, harness: Harness, provider: StandIn, bobs_image: str
) -> None:
    """A job from a version that did not store admitted pictures."""
    provider.add_model("acme/taker", {})
    input = {"prompt": "waited", "deep": {"image": f"cyberimage://image/{bobs_image}"}}
    call = RemoteCall(source="replicate", model="acme/taker", input=input)
    request = GenerationRequest(model_id="acme/taker", prompt="waited", num_inference_steps=1, seed=1, remote=call)
    job, _ = harness.context.jobs.enqueue(
        request, client_id=people.ids["bob"], lane="remote", max_attempts=3, idempotency=None
    )
    harness.context.notifications.publish("work")
    assert ended(people.bob, job.id)["status"] == "COMPLETED"
    (asked,) = provider.created_for("waited")
    assert not asked.input["deep"]["image"].startswith("cyberimage:")


@pytest.mark.parametrize(
    ("listed", "asked", "allowed"),
    [
        ("acme/sized", "acme/sized", True),
        ("acme/sized", "acme/clip2", False),
        ("acme/sized", "acme/sized:0f0f", False),
        ("acme/sized:v1", "acme/sized:v1", True),
        ("acme/sized:v1", "acme/sized:v2", False),
        ("acme/sized:v1", "acme/sized", False),
        ("", "acme/painter", True),
        ("", "acme/painter:0f0f", False),
        ("", "acme/painter:", True),
    ],
)
def test_only_listed_references(
    new_harness: Callable[..., Harness],
    settings: dict[str, str],
    provider: StandIn,
    listed: str,
    asked: str,
    allowed: bool,
) -> None:
    settings |= {"REPLICATE_ONLY_LISTED": "true", "REPLICATE_IMAGE_MODELS": listed, "REPLICATE_VIDEO_MODELS": ""}
    settings.pop("MODEL_SIZED")
    client: FlaskClient = create_app(new_harness(**settings).context.settings).test_client()
    client.get("/api/image-models")  # what is known already is not offered by that
    answer = client.post("/api/run-image-model", json={"model": asked, "input": {"prompt": "x"}})
    if allowed:
        assert answer.status_code == 202, answer.text
    else:
        if ":" not in asked + listed:
            assert client.get(f"/api/image-models/{asked}/schema").status_code == 404
        assert (answer.status_code, answer.json["code"]) == (400, "unknown_model")
        assert "REPLICATE_ONLY_LISTED" in answer.json["detail"]


def test_a_rerun_checks_the_owner_of_the_picture(people: Keyed, harness: Harness, bobs_image: str) -> None:
    with pytest.raises(ImageNotFound):
        rerun(harness.context, bobs_image, client_id=people.ids["alice"])
    with pytest.raises(Conflict):  # his own, which a provider made
        rerun(harness.context, bobs_image, client_id=people.ids["bob"])
