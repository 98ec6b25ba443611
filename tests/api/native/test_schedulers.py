"""GET /api/schedulers, what models say of them, and requests that name one."""

from __future__ import annotations

import json

import pytest

from app import create_app
from app.files import hub_cache


@pytest.fixture
def models(client):
    return lambda: {model["id"]: model for model in client.get("/api/models").json["models"]}


def test_the_list_says_what_each_is_called_and_fits(client):
    listed = {each["name"]: each for each in client.get("/api/schedulers").json["schedulers"]}
    assert listed["euler_a"]["label"] == "Euler a"
    assert "EulerAncestralDiscreteScheduler" in listed["euler_a"]["aliases"]
    assert listed["euler_a"]["predictions"] == ["epsilon", "v_prediction"]
    assert listed["euler"]["predictions"] == ["epsilon", "v_prediction", "flow_prediction"]
    assert (listed["euler"]["sigmas"], listed["ddim"]["sigmas"]) == (["karras", "exponential", "beta"], [])
    assert {"sd15", "sdxl-base", "sd21"} <= set(listed["euler_a"]["models"])
    assert {"flux-dev", "sd35-large"} <= set(listed["unipc"]["models"])
    assert "flux-dev" not in listed["heun"]["models"]
    assert not any("sana-sprint" in each["models"] for each in listed.values())


def test_models_list_those_that_fit(models):
    found = models()
    assert "dpmpp_2m" in found["sd15"]["schedulers"]
    assert found["sana-sprint"]["schedulers"] == []
    assert (found["sd21"]["prediction"], found["flux-dev"]["prediction"]) == ("v_prediction", "flow_prediction")
    assert "unipc" in found["demo"]["schedulers"]
    assert found["demo"]["prediction"] == "flow_prediction"


def test_what_is_unknown_is_null_until_its_files_are_here(settings_in, tmp_path):
    line = "own;somebody/own;;huggingface;false"
    app = create_app(settings_in(tmp_path, model_cache_dir=tmp_path / "models", model_lines={"MODEL_1": line}))
    context = app.extensions["cyberimage"].context

    def own():
        listed = app.test_client().get("/api/models").json["models"]
        return next(each for each in listed if each["id"] == "own")

    try:
        assert (own()["schedulers"], own()["prediction"]) == (None, None)
        version = hub_cache.repo_folder(context.settings.hub_cache, "somebody/own") / "snapshots" / ("0" * 40)
        (version / "scheduler").mkdir(parents=True)
        index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
        (version / "model_index.json").write_text(json.dumps(index))
        config = {"prediction_type": "v_prediction"}
        (version / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
        assert (own()["prediction"], "euler_a" in own()["schedulers"]) == ("v_prediction", True)
    finally:
        context.close()


def test_one_that_does_not_fit_is_refused_before_anything_is_queued(client, context):
    for scheduler in ("euler_a", "nothing"):
        answer = client.post("/api/generate", json={"prompt": "x", "settings": {"scheduler": scheduler}})
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
        assert [each["field"] for each in answer.json["errors"]] == ["settings.scheduler"]
    flat = client.post("/v1/txt2img", json={"prompt": "x", "scheduler": "euler_a", "timeout": 0})
    assert [each["field"] for each in flat.json["errors"]] == ["scheduler"]
    assert context.jobs.count_pending() == 0


def test_it_is_in_the_status_and_in_every_way_to_ask(client):
    native = client.post("/api/generate", json={"prompt": "x", "settings": {"sampler": "UniPC", "shift": 2}})
    assert native.status_code == 202
    settings = client.get(native.json["status_url"]).json["settings"]
    assert (settings["scheduler"], settings["shift"], settings["sigmas"]) == ("unipc", 2.0, None)
    flat = client.post("/v1/txt2img", json={"prompt": "x", "scheduler": "Euler Karras", "timeout": 0})
    settings = client.get(flat.json["status_url"]).json["settings"]
    assert (settings["scheduler"], settings["sigmas"]) == ("euler", "karras")
