"""The routes that list a provider's models and their schemas, with a provider on loopback."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from app import create_app
from tests.providers.client import run
from tests.providers.replicate_server import StandIn
from tests.worker.harness import Harness


@pytest.fixture
def harness(new_harness: Callable[..., Harness], settings: dict[str, str]) -> Harness:
    return new_harness(**settings, REPLICATE_IMAGE_MODELS="acme/sized,acme/gone", REPLICATE_VIDEO_MODELS="")


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


def test_without_a_provider(new_harness: Callable[..., Harness]) -> None:
    client = create_app(new_harness().context.settings).test_client()
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


def test_a_provider_that_knows_none_of_ours_shows_its_own(new_harness: Callable[..., Harness], settings) -> None:
    own = {name: value for name, value in settings.items() if not name.startswith("MODEL_")}
    harness = new_harness(**own, REPLICATE_IMAGE_MODELS="x/y", REPLICATE_VIDEO_MODELS="")
    client = create_app(harness.context.settings).test_client()
    names = [
        [model["model"] for model in client.get(f"/api/{kind}-models").json["models"]] for kind in ("image", "video")
    ]
    assert names == [["acme/painter", "acme/sized"], ["acme/clip"]]


def test_a_schema_has_the_price_of_the_catalogue_or_the_settings(new_harness: Callable[..., Harness], settings) -> None:
    line = 'priced;acme/painter;A painter;replicate;false;{"price": 0.25}'
    harness = new_harness(**settings | {"MODEL_PAINTER": line}, REMOTE_PRICE="0.5")
    client = create_app(harness.context.settings).test_client()
    prices = [client.get(f"/api/image-models/acme/{name}/schema").json["price"] for name in ("painter", "sized")]
    assert prices == [0.25, 0.5]


def test_a_schema(client: FlaskClient) -> None:
    body = client.get("/api/image-models/acme/painter/schema").json
    assert body["required"] == ["prompt"]
    assert body["defaults"]["num_inference_steps"] == 4
    assert body["files"] == ["image"]
    assert body["input_schema"]["properties"]["guidance"]["maximum"] == 10
    assert body["price"] is None
    assert body["fields"][0]["name"] == "prompt"
    (ratio,) = (field for field in body["fields"] if field["name"] == "aspect_ratio")
    assert (ratio["kind"], ratio["choices"], ratio["default"]) == ("choice", ["1:1", "16:9", "9:16", "4:3"], "1:1")
    assert client.get("/api/video-models/acme/clip/schema").json["first_frame"] == "start_image"
    for name in ("acme/none", "acme/-"):
        missing = client.get(f"/api/image-models/{name}/schema")
        assert (missing.status_code, missing.json["code"]) == (404, "unknown_model")


def test_only_listed_ones(new_harness: Callable[..., Harness], settings: dict[str, str]) -> None:
    harness = new_harness(**settings, REPLICATE_ONLY_LISTED="true", REPLICATE_IMAGE_MODELS="acme/sized")
    client = create_app(harness.context.settings).test_client()
    run(client, "acme/sized", prompt="x")
    answer = client.post("/api/run-image-model", json={"model": "acme/other", "input": {"prompt": "x"}})
    assert (answer.status_code, answer.json["code"]) == (400, "unknown_model")


@pytest.mark.parametrize(("name", "own", "other"), [("painter", "image", "video"), ("clip", "video", "image")])
def test_a_model_of_the_other_kind_is_refused(client: FlaskClient, name: str, own: str, other: str) -> None:
    assert client.get(f"/api/{own}-models/acme/{name}/schema").status_code == 200
    schema = client.get(f"/api/{other}-models/acme/{name}/schema")
    assert (schema.status_code, schema.json["code"]) == (404, "unknown_model")
    assert f"makes {own}s, not {other}s: use /api/run-{own}-model" in schema.json["detail"]
    run = client.post(f"/api/run-{other}-model", json={"model": f"acme/{name}", "input": {"prompt": "x"}})
    assert (run.status_code, run.json["code"]) == (400, "unknown_model")
    assert run.json["detail"] == schema.json["detail"]
    assert run.json["errors"][0]["field"] == "model"


def test_the_kind_of_a_model_that_is_not_listed(new_harness: Callable[..., Harness], settings: dict[str, str]) -> None:
    own = {name: value for name, value in settings.items() if not name.startswith("MODEL_")}
    harness = new_harness(**own, REPLICATE_IMAGE_MODELS="", REPLICATE_VIDEO_MODELS="acme/sized")
    client = create_app(harness.context.settings).test_client()
    assert client.get("/api/video-models/acme/clip/schema").status_code == 200, "it has a duration"
    assert client.get("/api/image-models/acme/clip/schema").status_code == 404
    assert client.get("/api/image-models/acme/painter/schema").status_code == 200
    assert client.get("/api/video-models/acme/sized/schema").status_code == 200, "the settings say so"
    assert client.get("/api/image-models/acme/sized/schema").status_code == 404
