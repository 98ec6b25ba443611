"""AUTOMATIC1111's ControlNet units: our control pictures and references, and what is not there is told in `info`."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from app import create_app
from app.files.inputs import pixels_of


def png(colour="red", size=(64, 64)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def app(settings_in, tmp_path):
    for name, part, config in (
        ("sd", "model_index.json", {"_class_name": "StableDiffusionPipeline"}),
        ("edges", "config.json", {"_class_name": "ControlNetModel", "cross_attention_dim": 768}),
        ("xl", "config.json", {"_class_name": "ControlNetUnionModel", "num_control_type": 6}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / part).write_text(json.dumps(config))
    net = '"kind": "controlnet", "aliases": ["control_v11p_canny"]'
    ip = '"kind": "ip-adapter", "family": "sd15", "file": "ip.safetensors", "image_encoder": "image_encoder"'
    lines = {
        "MODEL_SD": f"sd;{tmp_path / 'sd'};M;local;false",
        "MODEL_E": f"edges;{tmp_path / 'edges'};N;local;false;{{{net}}}",
        "MODEL_X": f'xl;{tmp_path / "xl"};N;local;false;{{"kind": "controlnet"}}',
        "MODEL_I": f"ip;{tmp_path / 'ip'};A;local;false;{{{ip}}}",
    }
    app = create_app(settings_in(tmp_path, model_lines=lines, default_model_id="sd"))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def draw(client, context, worker, next_job):
    """Send a request with these units; gives the job's request, and the warnings of its answer."""

    def send(*units, path="/sdapi/v1/txt2img", name="controlnet", **more):
        body = {"prompt": "x", "width": 64, "height": 64, "alwayson_scripts": {name: {"args": list(units)}}, **more}
        with next_job(worker.finish):
            answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        info = json.loads(answer.json["info"])
        return context.jobs.get(answer.headers["X-Job-Id"]).request, info.get("warnings", [])

    return send


def test_a_unit_becomes_a_control_picture(draw):
    unit = {
        "image": png(),
        "module": "canny",
        "model": "control_v11p_canny [d14c016b]",
        "weight": 0.7,
        "guidance_start": 0.1,
        "guidance_end": 0.9,
        "resize_mode": "Crop and Resize",
        "processor_res": 512,
        "pixel_perfect": False,
        "control_mode": "Balanced",
    }
    request, warnings = draw(unit, name="ControlNet")
    (kept,) = request.pictures
    assert (kept.role, kept.model, kept.processor) == ("control", "edges", "canny")
    assert (kept.weight, kept.start, kept.end) == (0.7, 0.1, 0.9)
    assert warnings == []


def test_adapters_are_references_and_pictures_may_be_objects(draw):
    picture = {"image": png(), "mask": None}
    request, _ = draw({"image": picture, "module": "ip-adapter_auto", "model": "ip", "weight": 0.5})
    assert [(each.role, each.model, each.weight) for each in request.pictures] == [("reference", "ip", 0.5)]


def test_a_start_image_and_two_units(draw):
    first = {"image": png(), "module": "none", "model": "edges"}
    second = {"image": png("blue"), "module": "tile_resample", "model": "edges"}
    request, _ = draw(first, second, path="/sdapi/v1/img2img", init_images=[png()], denoising_strength=0.5)
    assert [(each.role, each.processor) for each in request.pictures] == [
        ("image", None),
        ("control", "none"),
        ("control", "tile"),
    ]


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ({"image": "x", "model": "nothing"}, "unit 1 was not used: there is no model 'nothing' here"),
        ({"model": "edges"}, "unit 1 was not used: it has no image"),
        ({"image": "x", "model": "edges", "module": "inpaint_only"}, "there is no module 'inpaint_only' here"),
    ],
)
def test_what_is_not_there_is_told(draw, unit, said):
    request, warnings = draw(unit)
    assert request.pictures == ()
    assert any(said in each for each in warnings)


def test_a_unit_that_is_off_asks_for_nothing(draw):
    request, warnings = draw({"enabled": False, "image": png(), "model": "edges"}, [False], False)
    assert (request.pictures, warnings) == ((), [])


def test_members_that_have_no_effect_are_told(draw):
    _, warnings = draw({"image": png(), "model": "edges", "control_mode": "My prompt is more important"})
    assert any("control_mode was not used" in each for each in warnings)


def test_one_for_another_model_is_an_error_of_the_facade(client, context):
    unit = {"image": png(), "model": "xl", "module": "canny"}
    answer = client.post(
        "/sdapi/v1/txt2img", json={"prompt": "x", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    )
    assert answer.status_code == 400
    assert answer.json["error"] == "input_model_incompatible"
    assert context.jobs.count_pending() == 0


def test_clients_look_around(client):
    assert client.get("/controlnet/version").json == {"version": 3}
    assert client.get("/controlnet/model_list").json == {"model_list": ["drawings-edges", "edges", "ip", "xl"]}
    assert client.get("/controlnet/module_list").json == {"module_list": ["none", "canny", "lineart", "tile"]}
    body = {"controlnet_module": "canny", "controlnet_images": [png(), "data:image/png;base64," + png()]}
    answer = client.post("/controlnet/detect", json=body)
    assert [pixels_of(base64.b64decode(each)).shape for each in answer.json["images"]] == [(64, 64, 3)] * 2
    for wrong, code in (
        ({"controlnet_module": "openpose"}, "invalid_request"),
        ({"controlnet_images": ["?"]}, "invalid_image"),
        ({"controlnet_images": [png()] * 5}, "invalid_request"),
    ):
        answer = client.post("/controlnet/detect", json={**body, **wrong})
        assert (answer.status_code, answer.json["error"]) == (400, code), answer.text


def test_names_and_units_without_end_cost_nothing(app):
    from app.api.a1111.controlnet import control_inputs

    catalog = app.extensions["cyberimage"].context.catalog
    units = [{"image": "x", "model": " " * 100_000 + "x"}, {"image": "x", "model": "edges [d14c016b]"}]
    notes: list[str] = []
    found = list(control_inputs({"controlnet": {"args": units + [{}] * 100_000}}, catalog, notes))
    assert [one["model"] for one in found] == ["edges"]
    assert len(notes) <= 20
    assert all(len(note) < 200 for note in notes)
