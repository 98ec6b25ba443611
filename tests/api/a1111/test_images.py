"""AUTOMATIC1111's txt2img and img2img: translated, bounded, noted, and under all the rules of the API."""

from __future__ import annotations

import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app import create_app
from app.api.a1111.bodies import Img2ImgRequest
from app.api.a1111.optional_settings import optional_settings
from app.api.a1111.translation import Translated
from app.core.request import GenerationInput, GenerationSettings

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"


@pytest.fixture
def quick(settings_in, tmp_path, request):
    """A client of a server that waits for nothing, and its context."""

    def make(**settings):
        app = create_app(settings_in(tmp_path, **{"sync_timeout_seconds": 0.01, **settings}))
        request.addfinalizer(app.extensions["cyberimage"].close)
        return app.test_client(), app.extensions["cyberimage"].context

    return make


def png(colour="red") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (128, 128), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def error(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert set(response.json) == {"error", "detail", "body", "errors"}
    assert response.json["error"] == code
    assert response.json["detail"]
    return response.json


def test_pictures_and_their_info(client, worker, next_job):
    body = {"prompt": "a red fox", "batch_size": 2, "n_iter": 2, "seed": 5, "steps": 8, "sampler_name": "Euler a"}
    with next_job(worker.finish):
        answer = client.post(TXT2IMG, json=body)
    assert answer.status_code == 200, answer.text
    assert [base64.b64decode(one)[:4] for one in answer.json["images"]] == [b"\x89PNG"] * 4
    assert answer.json["parameters"]["prompt"] == "a red fox"
    info = json.loads(answer.json["info"])
    assert info["all_seeds"] == [5, 6, 7, 8]
    assert (info["sd_model_name"], info["steps"], info["sampler_name"]) == ("demo", 8, "Euler a")
    assert len(info["infotexts"]) == 4
    assert info["infotexts"][0].startswith("a red fox\n")
    assert info["job_id"] == answer.headers["X-Job-Id"]


def test_without_pictures(client, worker, next_job):
    with next_job(worker.finish):
        answer = client.post(TXT2IMG, json={"prompt": "x", "send_images": False})
    assert answer.json["images"] == []
    assert json.loads(answer.json["info"])["all_seeds"]


def test_fields_become_settings(quick):
    client, context = quick()
    body = {"prompt": "x", "negative_prompt": "fog", "steps": "12", "cfg_scale": 5, "width": 640, "height": 512}
    override = {"sd_model_checkpoint": "sd15 [0123456789]"}
    client.post(TXT2IMG, json=body | {"denoising_strength": 0.7, "seed": -1, "override_settings": override})
    [job] = context.jobs.waiting()
    request = job.request
    assert (request.negative_prompt, request.num_inference_steps, request.guidance_scale) == ("fog", 12, 5.0)
    assert (request.width, request.height, request.model_id, request.strength) == (640, 512, "sd15", None)


def notes_of(client, worker, next_job, **body) -> str:
    with next_job(worker.finish):
        answer = client.post(TXT2IMG, json={"prompt": "x", **body})
    assert answer.status_code == 200, answer.text
    return " ".join(json.loads(answer.json["info"])["warnings"])


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"cfg_scale": 30}, "cfg_scale: 30 was brought within"),
        ({"steps": 5000}, "steps: 5000 was brought within"),
        ({"width": 5000, "height": 5000}, "cannot draw 5000x5000"),
        ({"restore_faces": True}, "restore_faces was not used"),
        ({"enable_hr": True, "hr_scheduler": "Karras"}, "hr_scheduler was not used"),
        ({"alwayson_scripts": {"controlnet": {"args": [{"image": "x"}]}}}, "controlnet unit 1 was not used"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, "alwayson_scripts.ADetailer"),
        ({"override_settings": {"sd_vae": "other"}}, "override_settings.sd_vae"),
        ({"something_new": 1}, "something_new was not used"),
        ({"prompt": "a <lora:none:0.5> fox"}, "<lora:none>"),
    ],
)
def test_what_is_not_done_is_told_and_fails_nothing(client, worker, next_job, sent, told):
    assert told in notes_of(client, worker, next_job, **sent)


def test_defaults_that_clients_always_send_are_no_news(client, worker, next_job):
    always = {"subseed": -1, "eta": 1.0, "s_noise": 1, "hr_scale": 2, "hr_upscaler": "Latent", "styles": []}
    scripts = {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}}
    never = {"restore_faces": False, "tiling": False, "do_not_save_grid": False, "save_images": False}
    more = {"denoising_strength": 0.7, "scheduler": "Automatic", "override_settings_restore_afterwards": True}
    override = {"sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1}
    sent = {**always, **never, **more, "alwayson_scripts": scripts, "override_settings": override}
    assert notes_of(client, worker, next_job, **sent) == ""


def test_a_sampler_is_passed_on_where_the_core_knows_samplers(client, worker, next_job):
    told = notes_of(client, worker, next_job, sampler_name="DPM++ 2M", scheduler="karras")
    assert ("DPM++ 2M Karras was not used" in told) is ("scheduler" not in GenerationSettings.model_fields)


@pytest.mark.skipif("scheduler" not in GenerationSettings.model_fields, reason="the core knows no schedulers")
def test_a_sampler_that_does_not_fit_is_left_out(client, worker, next_job):
    """Clients send one always: the picture is drawn with the model's own."""
    assert "scheduler was not used" in notes_of(client, worker, next_job, sampler_name="No such sampler")


def test_settings_that_the_model_does_not_take_are_left_out_together(client, context):
    wanted = Translated(
        GenerationInput(prompt="x", settings=GenerationSettings(seed=3, strength=0.5, guidance_scale=2.0)),
        ("a note",),
        None,
        frozenset({"strength", "guidance_scale"}),
    )
    less = wanted.without({"strength"})
    assert less is not None
    assert less.asked.settings.model_dump(exclude_unset=True) == {"seed": 3, "guidance_scale": 2.0}
    assert less.notes == ("a note", "strength was not used: it does not fit this model.")
    assert less.without({"strength"}) is None  # once is enough: the loop ends
    assert wanted.without({"strength", "seed"}) is None
    assert wanted.without(set()) is None


@pytest.mark.parametrize(
    ("member", "value", "setting"),
    [
        ("mask_blur", 8, {"mask_blur": 8}),
        ("inpaint_full_res", True, {"inpaint_area": "masked"}),
        ("inpainting_fill", 2, {"inpaint_fill": "noise"}),
        ("mask_blur", -3, {}),
    ],
)
def test_what_a_mask_wants_is_passed_on_where_the_core_knows_it(member, value, setting):
    body = Img2ImgRequest.model_validate({"init_images": ["x"], "mask": "y", member: value})
    notes: list[str] = []
    known = optional_settings(body, notes)
    if setting.keys() <= GenerationSettings.model_fields.keys():
        assert known == setting
    assert bool(notes) is not bool(known)


def test_loras_of_the_prompt(quick):
    from app.api.a1111.prompts import parse_loras

    parsed = parse_loras("a <lora:Style:0.8> fox <lora:owner/repo> <lora:big:9>", ["style", "big"])
    assert parsed.prompt == "a fox"
    assert parsed.loras == {"style": 0.8, "owner/repo": 1.0, "big": 2.0}
    assert len(parsed.notes) == 1
    assert parse_loras("nothing here", []) == ("nothing here", {}, [])


@pytest.mark.parametrize(("invert", "inverted"), [(0, None), (1, True)])
def test_a_mask_and_the_other_way_round(quick, invert, inverted):
    client, context = quick()
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (0, 0, 64, 128))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    sent = {"init_images": ["data:image/png;base64," + png()], "mask": base64.b64encode(buffer.getvalue()).decode()}
    body = {"prompt": "x", "denoising_strength": 0.5, "inpainting_mask_invert": invert}
    assert client.post(IMG2IMG, json=body | sent).status_code == 504
    [job] = context.jobs.waiting()
    assert (job.request.task, job.request.strength, job.request.mask_invert) == ("inpaint", 0.5, inverted)
    with Image.open(io.BytesIO(context.inputs.pngs(job.id)["mask"])) as kept:
        assert kept.getpixel((kept.width // 4, 9)) == 255
        assert kept.getpixel((3 * kept.width // 4, 9)) == 0


@pytest.mark.parametrize(
    ("path", "sent", "status", "code"),
    [
        (TXT2IMG, {}, 400, "invalid_request"),
        (TXT2IMG, {"prompt": "x", "override_settings": {"sd_model_checkpoint": "none"}}, 400, "unknown_model"),
        (TXT2IMG, {"prompt": "x", "batch_size": 3, "n_iter": 3}, 400, "invalid_request"),
        (TXT2IMG, {"prompt": "<script>alert(1)</script>"}, 400, "suspicious_input"),
        (TXT2IMG, {"prompt": "x", "webhook_url": "http://127.0.0.1/"}, 400, "invalid_request"),
        (IMG2IMG, {"prompt": "x"}, 400, "invalid_image"),
        (IMG2IMG, {"prompt": "x", "init_images": ["no picture"]}, 400, "invalid_image"),
    ],
)
def test_errors(client, context, path, sent, status, code):
    error(client.post(path, json=sent), status, code)
    assert not context.jobs.count_pending()


def test_a_failed_job(client, worker, next_job):
    with next_job(worker.fail):
        answer = client.post(TXT2IMG, json={"prompt": "x"})
    error(answer, 507, "out_of_memory")


def test_it_can_be_switched_off(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, facades="openai"))
    problem(app.test_client().post(TXT2IMG, json={"prompt": "x"}), 404, "not_found")
    app.extensions["cyberimage"].close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "cfg_scale",
        "width",
        "height",
        "batch_size",
        "n_iter",
        "sampler_name",
        "sampler_index",
        "scheduler",
        "denoising_strength",
        "override_settings",
        "send_images",
        "force_task_id",
        "webhook_url",
        "init_images",
        "mask",
        "alwayson_scripts",
        "inpainting_mask_invert",
        "enable_hr",
        "styles",
        "override",
    ]
)


@pytest.fixture(scope="module")
def patient_server(settings_in, tmp_path_factory):
    app = create_app(settings_in(tmp_path_factory.mktemp("any"), sync_timeout_seconds=0.001, queue_max_pending=100_000))
    yield app
    app.extensions["cyberimage"].close()


@given(body=st.dictionaries(NAMES, JSON | st.just([png()])), path=st.sampled_from([TXT2IMG, IMG2IMG]))
def test_any_body_is_drawn_or_answered_in_its_shape(patient_server, body, path):
    """Never a 500: what is accepted is a job that waits."""
    context = patient_server.extensions["cyberimage"].context
    before = context.jobs.count_pending()
    answer = patient_server.test_client().post(path, json={"prompt": "x", **body})
    assert answer.status_code in (400, 504), answer.text
    assert set(answer.json) == {"error", "detail", "body", "errors"}
    assert context.jobs.count_pending() == before + (answer.status_code == 504)
    if answer.status_code == 504:  # accepted: what waits is what the body says
        request = context.jobs.get(answer.headers["X-Job-Id"]).request
        assert request.prompt == (body.get("prompt", "x") or "").strip()
        assert request.num_images == int(body.get("batch_size") or 1) * int(body.get("n_iter") or 1)


def test_a_call_that_waits_keeps_no_picture_and_no_long_parameters(quick):
    """Whatever its members are called."""
    from app.api.a1111.bodies import Txt2ImgRequest
    from app.api.a1111.images import _parameters

    large = {"images": "x" * 1000, "inputs": ["y"], "mask": "z"}
    body = Txt2ImgRequest.model_validate({"prompt": "a fox", "steps": 3, "own": 1, **large})
    told = _parameters(body)
    assert (told["prompt"], told["steps"], told["own"]) == ("a fox", 3, 1)
    assert not told.keys() & large.keys()
    assert _parameters(Txt2ImgRequest.model_validate({"prompt": "a fox", "own": "x" * 70_000})) == {}


def test_notes_on_unknown_loras_are_few():
    from app.api.a1111.prompts import parse_loras

    assert len(parse_loras("<lora:none:1>" * 1000, []).notes) == 20


@pytest.mark.parametrize("sent", [{"steps": 10**400}, {"steps": -(10**400)}, {"prompt": "x" * 100_001}])
def test_numbers_and_texts_beyond_all_bounds(quick, sent):
    client, _ = quick()
    assert client.post(TXT2IMG, json={"prompt": "x", **sent}).status_code in (400, 422)
