"""Control pictures and references: what is known to be wrong is told before anything is queued."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from app import create_app
from app.files.inputs import pixels_of

CONFIGS = {
    "sd": ("StableDiffusionPipeline", "unet", {"cross_attention_dim": 768}),
    "xl": ("StableDiffusionXLPipeline", "unet", {"cross_attention_dim": 2048}),
    "flux": ("FluxPipeline", "transformer", {"num_attention_heads": 24}),
    "fluxcanny": ("FluxControlPipeline", "transformer", {}),
    "zimage": ("ZImagePipeline", "transformer", {"dim": 3840}),
    "qwen": ("QwenImagePipeline", "transformer", {}),
    "kontext": ("FluxKontextPipeline", "transformer", {}),
    "plus": ("QwenImageEditPlusPipeline", "transformer", {}),
}
NETS = {
    "edges": {"_class_name": "ControlNetModel", "cross_attention_dim": 768},
    "depths": {"_class_name": "ControlNetModel", "cross_attention_dim": 768},
    "xledges": {"_class_name": "ControlNetModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time"},
    "union": {"_class_name": "ControlNetUnionModel", "cross_attention_dim": 2048, "num_control_type": 6},
    "fluxnet": {"_class_name": "FluxControlNetModel", "num_attention_heads": 24},
    "znet": {"_class_name": "ZImageControlNetModel", "dim": 3840},
    "qnet": {"_class_name": "QwenImageControlNetModel"},
    "qnet2": {"_class_name": "QwenImageControlNetModel"},
}
SIZES = '"limits": {"min_width": 32, "min_height": 32}, "defaults": {"width": 64, "height": 64}'


def lines(folder, nets=tuple(NETS), *, adapters=True):
    found = {f"MODEL_{name}": f"{name};{folder / name};M;local;false;{{{SIZES}}}" for name in CONFIGS}
    found |= {f"MODEL_N_{n}": f'{n};{folder / n};N;local;false;{{"kind": "controlnet"}}' for n in nets}
    found["MODEL_DEPTH"] = f'midas;{folder / "midas"};D;local;false;{{"kind": "detector", "detects": "depth"}}'
    ip = '"kind": "ip-adapter", "file": "ip.safetensors", "image_encoder": "image_encoder"'
    if adapters:
        found["MODEL_IP"] = f'ip;{folder / "ip"};A;local;false;{{{ip}, "family": "sd15"}}'
        found["MODEL_IP2"] = f'ipplus;{folder / "ip"};A;local;false;{{{ip}, "family": "sd15"}}'
        found["MODEL_RX"] = f'redux;{folder / "redux"};R;local;false;{{"kind": "redux"}}'
    return found


@pytest.fixture
def app(settings_in, tmp_path):
    for name, (pipeline, part, config) in CONFIGS.items():
        (tmp_path / name / part).mkdir(parents=True)
        index = {"_class_name": pipeline, part: ["diffusers", "X"], "scheduler": ["diffusers", "DDIMScheduler"]}
        (tmp_path / name / "model_index.json").write_text(json.dumps(index))
        (tmp_path / name / part / "config.json").write_text(json.dumps(config))
    for name, config in NETS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    app = create_app(settings_in(tmp_path, model_lines=lines(tmp_path), default_model_id="sd"))
    yield app
    app.extensions["cyberimage"].close()


def picture(size=(96, 64), colour="red") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def send(client):
    def send(*inputs, model_id="sd", **settings):
        sent = [{"source": picture(), **each} for each in inputs]
        return client.post(
            "/api/generate", json={"prompt": "a boat", "model_id": model_id, "inputs": sent, "settings": settings}
        )

    return send


def control(**more):
    return {"role": "control", **more}


def reference(**more):
    return {"role": "reference", **more}


def test_a_control_is_kept_with_the_job_and_gives_the_size(send, client, context):
    answer = send(control(model="edges", weight=0.6, start=0.1, end=0.8, processor="canny"))
    assert answer.status_code == 202, answer.text
    status = client.get(f"/api/status/{answer.json['job_id']}").json
    kept = status["inputs"]["ctrl"]
    assert {name: kept[name] for name in ("weight", "start", "end", "processor", "model")} == {
        "weight": 0.6,
        "start": 0.1,
        "end": 0.8,
        "processor": "canny",
        "model": "edges",
    }
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.task, request.width, request.height) == ("txt2img", 80, 48)  # its shape, the model's pixels
    stored = pixels_of(context.inputs.pngs(answer.json["job_id"])["ctrl"])
    assert stored.shape == (48, 80, 3)


def test_a_requested_size_wins_and_a_start_image_leads(send, context):
    answer = send(control(model="edges"), {"role": "image"}, width=64, height=64, strength=0.5)
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.task, request.width, request.height) == ("img2img", 64, 64)
    assert [each.role for each in request.pictures] == ["image", "control"]


def test_a_reference_leaves_the_size_alone(send, context):
    answer = send(reference(model="ip", weight=0.5))
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.task, request.width, request.height) == ("txt2img", 64, 64)
    assert (request.pictures[0].model, request.pictures[0].weight) == ("ip", 0.5)


def test_the_only_one_that_fits_is_taken(send, context):
    answer = send(control(), model_id="flux")
    assert context.jobs.get(answer.json["job_id"]).request.pictures[0].model == "fluxnet"
    answer = send(reference(), model_id="flux")
    assert context.jobs.get(answer.json["job_id"]).request.pictures[0].model == "redux"


def test_an_edit_model_reads_references_itself(send, context):
    answer = send({"role": "image"}, reference(), model_id="plus")
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.task, request.pictures[1].model) == ("edit", None)


@pytest.mark.parametrize(
    ("inputs", "model_id", "code", "field", "said"),
    [
        ([control()], "sd", "invalid_request", "inputs.0.model", "depths, edges"),
        ([control(model="nothing")], "sd", "input_model_unavailable", "inputs.0.model", "the catalogue has"),
        ([control(model="ip")], "sd", "input_model_unavailable", "inputs.0.model", "no ControlNet 'ip'"),
        ([control(model="xledges")], "sd", "input_model_incompatible", "inputs.0.model", "it is for sdxl"),
        ([control(model="fluxnet")], "sd", "input_model_incompatible", "inputs.0.model", "it is for flux"),
        ([control()], "kontext", "invalid_request", "inputs.0.role", "no ControlNet can be used with kontext"),
        ([control(model="union")], "xl", "invalid_request", "inputs.0.mode", "pose, depth, scribble"),
        ([control(model="union", mode="repaint")], "xl", "invalid_request", "inputs.0.mode", "pose, depth"),
        ([control(model="edges", mode="canny")], "sd", "invalid_request", "inputs.0.mode", "edges is none"),
        (
            [control(model="edges", processor="seg")],
            "sd",
            "input_model_unavailable",
            "inputs.0.processor",
            '"detects": "seg"',
        ),
        ([control(model="edges", processor="pose")], "sd", "input_model_unavailable", "inputs.0.processor", '"pose"'),
        ([control(model="edges", processor="depth")], "sd", "input_model_unavailable", "inputs.0.processor", "missing"),
        (
            [control(model="union", mode="canny"), control(model="xledges")],
            "xl",
            "invalid_request",
            "inputs",
            "of one class",
        ),
        ([control(), control()], "zimage", "invalid_request", "inputs", "may hold 1 control picture"),
        ([control(start=0.2)], "zimage", "invalid_request", "inputs", "no start and end"),
        ([control(model="qnet"), control(model="qnet2")], "qwen", "invalid_request", "inputs", "one ControlNet only"),
        ([control(), {"role": "image"}], "zimage", "invalid_request", "inputs", "for txt2img only, not for img2img"),
        ([], "fluxcanny", "invalid_request", "inputs", "must hold one control picture"),
        ([control(weight=0.5)], "fluxcanny", "invalid_request", "inputs.0.weight", "itself"),
        ([control(model="edges")] * 5, "sd", "invalid_request", "inputs", "4 control pictures, not 5"),
        ([reference()], "sd", "invalid_request", "inputs.0.model", "ip, ipplus"),
        ([reference(model="ip")], "xl", "input_model_incompatible", "inputs.0.model", "it is for sd15"),
        ([reference()], "xl", "input_model_unavailable", "inputs.0.model", "add a MODEL_ line"),
        ([reference(model="redux")], "sd", "input_model_incompatible", "inputs.0.model", "for FLUX.1"),
        ([reference(weight=0.5), {"role": "image"}], "plus", "invalid_request", "inputs.0.weight", "itself"),
    ],
)
def test_what_cannot_work_is_refused_by_field(send, context, inputs, model_id, code, field, said):
    answer = send(*inputs, model_id=model_id)
    assert (answer.status_code, answer.json["code"]) == (400, code), answer.text
    assert [each["field"] for each in answer.json["errors"]] == [field]
    assert said in answer.json["errors"][0]["message"]
    assert context.jobs.count_pending() == 0


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"weight": 2.5}, "inputs.0.weight"),
        ({"weight": -1}, "inputs.0.weight"),
        ({"start": 0.8, "end": 0.2}, "inputs.0"),
        ({"start": 0.5, "end": 0.5}, "inputs.0"),
        ({"end": 1.5}, "inputs.0.end"),
        ({"processor": "magic"}, "inputs.0.processor"),
        ({"mode": "magic"}, "inputs.0.mode"),
        ({"strange": 1}, "inputs.0.strange"),
        ({"extend": {"left": 8}}, "inputs.0"),
    ],
)
def test_values_out_of_range_are_refused(send, context, wrong, field):
    answer = send(control(model="edges", **wrong))
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request"), answer.text
    assert [each["field"] for each in answer.json["errors"]] == [field]
    assert context.jobs.count_pending() == 0


def test_fields_of_a_control_are_for_controls(send):
    for role in ("image", "mask"):
        answer = send({"role": role, "weight": 0.5})
        assert answer.status_code == 400
        assert f"weight is not for a picture of role {role}" in answer.text


def test_an_auxiliary_model_is_no_model(client):
    answer = client.post("/api/generate", json={"prompt": "a boat", "model_id": "edges"})
    assert (answer.status_code, answer.json["code"]) == (400, "unknown_model")
    assert "draws nothing by itself" in answer.json["detail"]


def test_models_say_what_they_take(client):
    listed = client.get("/api/models").json
    by_id = {model["id"]: model for model in listed["models"]}
    assert by_id["sd"]["roles"] == ["image", "mask", "reference", "control"]
    assert by_id["sd"]["control_models"] == ["depths", "edges"]
    assert by_id["sd"]["reference_models"] == ["ip", "ipplus"]
    assert by_id["xl"]["control_models"] == ["union", "xledges"]
    assert {name: fit["answer"] for name, fit in by_id["xl"]["fits_with"].items()} == dict.fromkeys(
        ("union", "xledges"),
        "unknown",  # their weights are not here
    )
    assert by_id["xl"]["roles"] == ["image", "mask", "control"]
    assert by_id["kontext"]["control_models"] == []
    assert by_id["fluxcanny"]["roles"] == ["image", "mask", "control"]
    assert {"edges", "ip"}.isdisjoint(by_id)
    auxiliaries = {each["id"]: each for each in listed["auxiliaries"]}
    assert auxiliaries["union"]["modes"] == [
        "pose",
        "depth",
        "scribble",
        "soft_edge",
        "canny",
        "lineart",
        "normal",
        "seg",
    ]
    assert (auxiliaries["edges"]["kind"], auxiliaries["edges"]["family"]) == ("controlnet", "sd15")
    assert (auxiliaries["edges"]["available"], auxiliaries["edges"]["loaded"]) == (False, False)
    assert listed["processors"] == ["none", "canny", "lineart", "tile", "depth"]


def test_a_picture_of_another_client_is_no_control(send, context):
    answer = send(control(model="edges", source="0" * 32))
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_image")
    assert "not in the gallery" in answer.text
    assert context.jobs.count_pending() == 0


def test_a_rerun_has_the_same_pictures_and_fields(send, client, worker, context):
    pictures = (control(model="edges", weight=0.6, end=0.8), reference(model="ip", weight=0.5), {"role": "image"})
    sent = send(*pictures, width=64, height=48)  # as the stand-in for a worker draws
    assert sent.status_code == 202, sent.text
    image_id = worker.finish()[0]
    again = client.post(f"/api/image/{image_id}/rerun")
    assert again.status_code == 202, again.text
    first, second = (context.jobs.get(each.json["job_id"]).request for each in (sent, again))
    assert first.settings() == second.settings()
    drop = {"sha256"}
    assert [each.model_dump(exclude=drop) for each in first.pictures] == [
        each.model_dump(exclude=drop) for each in second.pictures
    ]
    kept = [context.inputs.pngs(each.json["job_id"]) for each in (sent, again)]
    assert kept[0] == kept[1]


def test_the_flat_body_takes_controls_too(client, context):
    body = {"prompt": "a boat", "inputs": [{"role": "control", "source": picture(), "model": "edges"}], "timeout": 0}
    answer = client.post("/v1/txt2img", json=body)
    assert answer.status_code == 202, answer.text
    assert [each.role for each in context.jobs.get(answer.json["job_id"]).request.pictures] == ["control"]


def test_an_idempotency_key_tells_controls_apart(client):
    def send(**more):
        inputs = [{"role": "control", "source": picture(), "model": "edges", **more}]
        return client.post("/api/generate", json={"prompt": "a", "inputs": inputs}, headers={"Idempotency-Key": "k"})

    assert [send(weight=0.5).status_code, send(weight=0.5).status_code, send(weight=0.6).status_code] == [202, 202, 422]


def test_preprocess_shows_what_a_processor_makes(client):
    square = Image.new("RGB", (96, 64))
    square.paste("white", (32, 16, 64, 48))
    buffer = io.BytesIO()
    square.save(buffer, "PNG")
    body = {"image": base64.b64encode(buffer.getvalue()).decode(), "processor": "canny"}
    answer = client.post("/api/preprocess", json=body)
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    edges = pixels_of(answer.data)
    assert edges.shape == (64, 96, 3)
    white = edges[..., 0] == 255
    assert 90 < white.sum() < 200  # a line around the square
    assert not white[24:40, 40:56].any()
    assert not white[:8].any()
    tiled = pixels_of(client.post("/api/preprocess", json={**body, "processor": "tile"}).data)
    assert 0 < tiled[16, 32:64].mean() < 255
    plain = pixels_of(client.post("/api/preprocess", json={**body, "processor": "none"}).data)
    assert (plain == pixels_of(buffer.getvalue())).all()


def test_preprocess_refuses_what_needs_weights_and_what_is_not_there(client):
    for wrong, code, field in (
        ({"processor": "depth"}, "invalid_request", "processor"),
        ({"processor": "magic"}, "invalid_request", "processor"),
        ({"image": "0" * 32}, "invalid_image", "image"),
        ({"image": "?"}, "invalid_image", "image"),
    ):
        answer = client.post("/api/preprocess", json={"image": picture(), "processor": "canny", **wrong})
        assert (answer.status_code, answer.json["code"]) == (400, code), answer.text
        assert answer.json["errors"][0]["field"] == field
    small = client.post("/api/preprocess", json={"image": picture((3000, 40)), "processor": "canny"})
    assert pixels_of(small.data).shape[1] == 1024
