"""LoRAs in flat words; what they do to a picture is tested with the engine."""

from __future__ import annotations

import pytest

from app import create_app
from tests.api.native.test_loras import FLUX, SDXL, safetensors

FLAT = {"prompt": "a fox", "model_id": "flux", "timeout": 0}


@pytest.fixture
def app(settings_in, tmp_path):
    folder, model = tmp_path / "loras", tmp_path / "flux"
    for harness in (folder, model):
        harness.mkdir()
    (folder / "ink.safetensors").write_bytes(safetensors(FLUX))
    (folder / "pixel.safetensors").write_bytes(safetensors(SDXL))
    (folder / "broken.safetensors").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    lines = {"MODEL_F": f"flux;{model};F;local;false"}
    app = create_app(
        settings_in(
            tmp_path, model_lines=lines, default_model_id="flux", loras_dir=str(folder), model_cache_dir=tmp_path
        )
    )
    yield app
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize("path", ["/api/v1/loras", "/api/v1/loras/list", "/v1/loras", "/v1/loras/list"])
def test_the_list_is_ours(client, path):
    assert client.get(path).json == client.get("/api/loras").json
    assert {lora["id"] for lora in client.get(path).json["loras"]} == {"ink", "pixel", "broken"}


@pytest.mark.parametrize(("sent", "scale"), [({}, 1.0), ({"lora_scale": 0.5}, 0.5), ({"lora_scale": 0}, 0.0)])
def test_a_lora_in_a_request(client, context, sent, scale):
    answer = client.post("/v1/txt2img", json={**FLAT, "lora_path": "ink", **sent})
    assert answer.status_code == 202, answer.text
    (lora,) = context.jobs.get(answer.json["job_id"]).request.loras
    assert (lora.id, lora.scale) == ("ink", scale)


@pytest.mark.parametrize(
    ("lora", "status", "code"),
    [("pixel", 400, "lora_incompatible"), ("broken", 400, "lora_unavailable"), ("none", 400, "lora_unavailable")],
)
def test_one_that_cannot_be_used_is_named_as_it_was_sent(client, problem, lora, status, code):
    found = problem(client.post("/v1/txt2img", json={**FLAT, "lora_path": lora}), status, code)
    assert [one["field"] for one in found["errors"]] == ["lora_path"]


@pytest.mark.parametrize("prefix", ["/api/v1", "/v1"])
def test_a_name_is_given_used_and_taken_back(client, context, prefix):
    answer = client.post(f"{prefix}/loras/load", json={"lora_path": "ink", "name": "mine"})
    assert (answer.status_code, answer.json["status"], answer.json["models"]) == (200, "will_be_loaded", [])
    assert (answer.json["lora"]["id"], answer.json["lora"]["stands_for"]) == ("mine", "ink")
    job = client.post("/v1/txt2img", json={**FLAT, "lora_path": "mine"}).json["job_id"]
    assert context.jobs.get(job).request.loras[0].id == "ink"
    gone = [client.post(f"{prefix}/loras/unload", json={"name": "mine"}).json["status"] for _ in range(2)]
    assert gone == ["unloaded", "not_loaded"]
    assert client.post("/v1/txt2img", json={**FLAT, "lora_path": "mine"}).status_code == 400


def test_names_are_taken_in_any_case(client, context):
    client.post("/v1/loras/load", json={"lora_path": "INK", "name": "Mine"})
    client.post("/v1/loras/load", json={"lora_path": "ink", "name": "mine"})
    assert list(context.lora_names.all().items()) == [("mine", "ink")]
    job = client.post("/v1/txt2img", json={**FLAT, "lora_path": "MINE"}).json["job_id"]
    assert context.jobs.get(job).request.loras[0].id == "ink"
    assert client.post("/v1/txt2img", json={**FLAT, "lora_path": "Ink"}).status_code == 202
    assert client.post("/v1/loras/unload", json={"name": "mINE"}).json["status"] == "unloaded"
    assert context.lora_names.all() == {}


def test_one_of_the_hub_is_fetched_when_it_is_needed(client):
    answer = client.post("/v1/loras/load", json={"lora_path": "somebody/style"})
    assert answer.json["status"] == "will_be_fetched"


@pytest.mark.parametrize(
    ("verb", "body", "code"),
    [
        ("load", {"lora_path": "none"}, "lora_unavailable"),
        ("load", {"lora_path": "broken"}, "lora_unavailable"),
        ("load", {"lora_path": "ink", "name": "../x"}, "invalid_request"),
        ("load", {}, "invalid_request"),
        ("unload", {}, "invalid_request"),
        ("unload", {"name": "a", "lora_path": "b"}, "invalid_request"),
    ],
)
def test_what_cannot_be_done(client, problem, verb, body, code):
    problem(client.post(f"/v1/loras/{verb}", json=body), 400, code)
