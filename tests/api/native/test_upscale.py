"""Enlarging a picture, the list of upscalers, and where pictures come from."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from app import create_app
from app.core.tasks import UPSCALE
from app.files.media import encode_mp4
from app.files.metadata import parameters_text
from app.services.media.publish import Clip, GenerationResult, Picture, publish
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed
from tests.api.native.keyed import submit as submit_as

NOT_THERE = "0123456789abcdef" * 2


@pytest.fixture
def image(client, submit, worker) -> str:
    """Of the built-in model, 64 × 48."""
    submit("a red fox", negative_prompt=None, settings={"seed": 11})
    return worker.finish()[0]


def upscale(client, image_id, **body):
    return client.post(f"/api/image/{image_id}/upscale", json=body)


def enlarged(context, claim):
    """What a worker does with it, without a model."""
    size = (claim.request.height, claim.request.width, 3)
    result = GenerationResult([Picture(np.zeros(size, np.uint8), claim.request.seed)], {}, {}, {"generating": 0.5})
    return publish(context, claim, result)[0]


def test_it_is_a_job_like_any_other(client, context, worker, image):
    answer = upscale(client, image, factor=4, model="LANCZOS")
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json["status_url"]
    waiting = client.get(answer.json["status_url"]).json
    assert (waiting["task"], waiting["model_id"], waiting["prompt"]) == (UPSCALE, "lanczos", "a red fox")
    settings = waiting["settings"]
    assert (settings["width"], settings["height"], settings["seed"]) == (256, 192, 11)
    assert settings["upscale"] == {"factor": 4.0, "model": "lanczos", "steps": None, "strength": None, "tile": None}
    assert waiting["inputs"]["image"]["image_id"] == image
    assert (waiting["position"], waiting["progress"]["total_steps"]) == (1, 0)
    made = enlarged(context, worker.claim())
    done = client.get(answer.json["status_url"]).json
    assert (done["status"], done["images"][0]["width"]) == ("COMPLETED", 256)
    manifest = client.get(f"/api/image/{made.id}/metadata").json["manifest"]
    assert manifest["made_from"] == [{"image_id": image, "how": "upscale"}]
    text = parameters_text(manifest)
    assert "Postprocess upscale by: 4, Postprocess upscaler: lanczos" in text
    assert "Steps" not in text
    assert "Sampler" not in text


def test_the_usual_upscaler_is_that_of_the_model(client, context, worker, image):
    answer = upscale(client, image)
    assert client.get(answer.json["status_url"]).json["model_id"] == "drawings-x2"
    context.catalog._specs["demo"] = context.catalog.get("demo").model_copy(update={"repo": "somewhere/else"})
    answer = upscale(client, image)
    assert client.get(answer.json["status_url"]).json["model_id"] == "lanczos"


@pytest.mark.parametrize(
    ("body", "code", "field", "message"),
    [
        ({"factor": 3}, "invalid_request", "factor", "2 or 4"),
        ({"factor": "2"}, "invalid_request", "factor", "2 or 4"),
        ({"model": "none"}, "unknown_model", "model", "Known upscalers: drawings-x2, lanczos"),
        ({"model": "demo"}, "unknown_model", "model", "There is no upscaler 'demo'"),
        ({"scale": 2}, "invalid_request", "scale", "known field"),
        ({"model": "gone"}, "invalid_request", "model", "is missing: put it at models/gone.safetensors"),
        ({"model": "pickle"}, "invalid_request", "model", "never loaded"),
    ],
)
def test_what_cannot_be_is_said_by_field(settings_in, tmp_path, problem, body, code, field, message):
    lines = {
        "MODEL_A": 'gone;models/gone.safetensors;x;local;false;{"kind": "upscaler"}',
        "MODEL_B": 'pickle;models/4x.pth;x;local;false;{"kind": "upscaler"}',
    }
    app = create_app(settings_in(tmp_path, model_lines=lines))
    client, context = app.test_client(), app.extensions["cyberimage"].context
    client.post("/api/generate", json={"prompt": "x"})
    image = Worker(context).finish()[0]
    told = problem(upscale(client, image, **body), 400, code)
    assert field in [error["field"] for error in told["errors"]]
    assert message in told["detail"]
    assert context.jobs.count_pending() == 0
    context.close()


def test_beyond_max_pixels_nothing_is_queued(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, max_pixels=40_000))
    client, context = app.test_client(), app.extensions["cyberimage"].context
    client.post("/api/generate", json={"prompt": "x", "settings": {"width": 128, "height": 128}})
    image = Worker(context).finish()[0]
    told = problem(upscale(client, image, factor=4), 400, "invalid_request")
    assert told["errors"] == [{"field": "factor", "message": told["errors"][0]["message"]}]
    assert "makes 256 x 192, 49,152 pixels; at most 40,000 are allowed (MAX_PIXELS); 3.61 times" in told["detail"]
    assert context.jobs.count_pending() == 0
    assert upscale(client, image, factor=2).status_code == 202
    context.close()


def test_a_picture_that_is_not_there(client, image, problem):
    problem(upscale(client, NOT_THERE), 404, "image_not_found")
    problem(upscale(client, "x"), 404, "image_not_found")
    client.delete(f"/api/image/{image}")
    problem(upscale(client, image), 410, "gone")


def test_a_video_is_refused(client, context, worker, submit, problem):
    submit()
    poster = np.zeros((16, 16, 3), np.uint8)
    clip = Clip(encode_mp4([poster] * 2, 8, None), "video/mp4", poster, 1)
    (video,) = publish(context, worker.claim(), GenerationResult([], {}, {}, {}, clips=[clip]))
    told = problem(upscale(client, video.id), 400, "invalid_image")
    assert told["errors"][0]["message"] == "is a video; only a picture can be enlarged"


def test_a_repeated_key_makes_one_job(client, context, image):
    first, second = (
        client.post(f"/api/image/{image}/upscale", json={}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json["job_id"] == second.json["job_id"]
    other = client.post(f"/api/image/{image}/upscale", json={"factor": 4}, headers={"Idempotency-Key": "k"})
    assert other.json["code"] == "idempotency_conflict"
    assert context.jobs.count_pending() == 1


def test_transparency_is_stored_with_the_job(context, worker, submit, client):
    submit()
    pixels = np.full((20, 30, 4), 200, np.uint8)
    pixels[:, :10, 3] = 0
    (output,) = publish(context, worker.claim(), GenerationResult([Picture(pixels, 1)], {}, {}, {}))
    answer = upscale(client, output.id, model="lanczos")
    with Image.open(io.BytesIO(context.inputs.pngs(answer.json["job_id"])["image"])) as kept:
        assert (kept.mode, kept.size) == ("RGBA", (30, 20))
        assert (np.asarray(kept) == pixels).all()


def test_a_rerun_enlarges_the_same_pixels(client, context, worker, image):
    upscale(client, image, factor=4, model="lanczos")
    first = worker.claim()
    made = enlarged(context, first)
    answer = client.post(f"/api/image/{made.id}/rerun")
    assert answer.status_code == 202, answer.text
    again = worker.claim()
    assert again.request.upscale == first.request.upscale
    assert (again.request.width, again.request.height, again.request.seed) == (256, 192, 11)
    assert context.inputs.pngs(again.job_id) == context.inputs.pngs(first.job_id)
    assert again.request.rerun_of.image_id == made.id


def test_the_list_of_upscalers(client):
    listed = client.get("/api/upscalers").json
    assert listed["factors"] == [2, 4]
    assert {one["id"]: one["available"] for one in listed["upscalers"]} == {"drawings-x2": True, "lanczos": True}
    models = {one["id"] for one in client.get("/api/models").json["models"]}
    assert not models & {"drawings-x2", "lanczos"}


def test_an_upscaler_draws_nothing(client, problem):
    answer = client.post("/api/generate", json={"prompt": "x", "model_id": "lanczos"})
    problem(answer, 400, "unknown_model")


def test_lineage(client, context, worker, submit, image):
    submit(model_id="demo", image=image, settings={"strength": 0.5})
    (over,) = worker.finish()
    upscale(client, over, model="lanczos")
    large = enlarged(context, worker.claim())
    assert client.post(f"/api/image/{large.id}/rerun").status_code == 202
    again = enlarged(context, worker.claim())
    told = client.get(f"/api/image/{over}/lineage").json
    assert told["made_from"] == [{"image_id": image, "how": "img2img"}]
    assert [one["image_id"] for one in told["ancestors"]] == [image]
    assert [(one["image_id"], one["made_from"]) for one in told["children"]] == [
        (large.id, [{"image_id": over, "how": "upscale"}])
    ]
    told = client.get(f"/api/image/{large.id}/lineage").json
    assert [one["image_id"] for one in told["ancestors"]] == [image, over]
    assert [(one["image_id"], one["made_from"][0]["how"]) for one in told["children"]] == [(again.id, "rerun")]
    client.delete(f"/api/image/{over}")
    told = client.get(f"/api/image/{large.id}/lineage").json
    assert (told["made_from"], told["ancestors"]) == ([], [])  # the chain ends at what was removed


def test_lineage_has_only_what_the_client_may_see(settings_in, tmp_path):
    keyed = Keyed(create_app(settings_in(tmp_path, auth_mode="keys")))
    worker = Worker(keyed.context)
    submit_as(keyed.alice)
    (hers,) = worker.finish()
    assert upscale(keyed.bob, hers).status_code == 404
    assert keyed.bob.get(f"/api/image/{hers}/lineage").status_code == 404
    upscale(keyed.root, hers, model="lanczos")
    theirs = enlarged(keyed.context, worker.claim())
    assert [one["image_id"] for one in keyed.root.get(f"/api/image/{hers}/lineage").json["children"]] == [theirs.id]
    assert keyed.alice.get(f"/api/image/{hers}/lineage").json["children"] == []
    keyed.context.close()


def test_a_second_pass_is_refused_by_field(client, problem):
    def asked(**upscale):
        return {"settings": {"upscale": {"factor": 2, **upscale}}}

    invalid = "invalid_request"
    png = io.BytesIO()
    Image.new("RGB", (128, 128)).save(png, "PNG")
    picture = base64.b64encode(png.getvalue()).decode()
    for body, field, message in (
        (asked(factor=1), "settings.upscale.factor", "greater than 1"),
        (asked(factor=4), "settings.upscale.factor", "demo draws at most 512 x 512"),
        (asked(strength=0.01), "settings.upscale.strength", "leaves none to run"),
        (asked(steps=500), "settings.upscale.steps", "must be 1 to 100"),
        (asked(factor=4, tile=250), "settings.upscale.tile", "multiple of 32 from 128 to 512 for demo, not 250"),
        (asked(tile=1024), "settings.upscale.tile", "multiple of 32 from 128 to 512 for demo, not 1024"),
        (asked(tile=8), "settings.upscale.tile", "greater than or equal to 64"),
        (asked(tile=256, model="latent"), "settings.upscale.tile", "not for latents"),
        (asked() | {"image": picture}, "settings.upscale", "request without a picture"),
        (asked() | {"model_id": "krea-2-turbo"}, "settings.upscale", "does not start from a picture"),
        (asked() | {"model_id": "ltx-2.3"}, "settings.upscale", "makes videos"),
    ):
        answer = client.post("/api/generate", json={"prompt": "x", **body})
        told = problem(answer, 400, invalid)
        assert message in told["detail"], told["detail"]
        assert field in [error["field"] for error in told["errors"]]
    answer = client.post("/api/generate", json={"prompt": "x", **asked(model="none")})
    told = problem(answer, 400, "unknown_model")
    assert told["errors"][0]["field"] == "settings.upscale.model"
    flat = client.post("/api/v1/generate/txt2img", json={"prompt": "x", "upscale": {"factor": 9}, "timeout": 0})
    assert problem(flat, 400, invalid)["errors"][0]["field"] == "upscale.factor"


def test_a_second_pass_is_in_the_status_and_the_manifest(client, context, worker, submit):
    job_id = submit(settings={"upscale": {"factor": 2, "strength": 0.4, "steps": 10}, "num_inference_steps": 8})
    status = client.get(f"/api/status/{job_id}").json
    wanted = {"factor": 2.0, "model": "drawings-x2", "steps": 10, "strength": 0.4, "tile": None}
    assert status["settings"]["upscale"] == wanted
    assert status["progress"]["total_steps"] == 8 + 4
    claim = worker.claim()
    pictures = [Picture(np.zeros((512, 512, 3), np.uint8), 5)]
    (output,) = publish(context, claim, GenerationResult(pictures, {}, {}, {}))
    settings = output.manifest["settings"]
    assert (settings["width"], settings["height"], output.width) == (256, 256, 512)
    assert settings["upscale"] == wanted
    text = parameters_text(output.manifest)
    assert "Size: 256x256" in text
    assert "Denoising strength: 0.4" in text
    assert "Hires upscale: 2, Hires steps: 10, Hires upscaler: drawings-x2" in text
    client.post(f"/api/image/{output.id}/rerun")
    assert worker.claim().request.upscale == claim.request.upscale


def test_tiles_draw_more_than_the_model_draws_at_once(client, context, problem) -> None:
    settings = {"upscale": {"factor": 4, "tile": 256, "steps": 20}, "num_inference_steps": 8}
    answer = client.post("/api/generate", json={"prompt": "x", "settings": settings})
    assert answer.status_code == 202, answer.text
    status = client.get(answer.json["status_url"]).json
    assert status["settings"]["upscale"]["strength"] == 0.3
    assert status["progress"]["total_steps"] == 8 + 25 * 6  # 1,024 pixels in 5 tiles a side, each of 20 * 0.3 steps
    settings = {"width": 512, "height": 512, "upscale": {"factor": 4.0, "tile": 256}}
    answer = client.post("/api/generate", json={"prompt": "x", "settings": settings | {"width": 544}})
    most = problem(answer, 400, "invalid_request")
    assert "width" in most["detail"]


def test_latents_are_asked_for_by_the_names_of_others(client, context) -> None:
    listed = client.get("/api/upscalers").json["latent_modes"]
    assert listed[0] == "Latent"
    assert client.get("/sdapi/v1/latent-upscale-modes").json == [{"name": name} for name in listed]
    for name in ("Latent (nearest-exact)", "latent-nearest-exact"):
        body = {"prompt": "x", "settings": {"upscale": {"factor": 2, "model": name}}}
        request = context.jobs.get(client.post("/api/generate", json=body).json["job_id"]).request
        assert request.upscale.model == "Latent (nearest-exact)"


def test_latents_are_no_upscaler_of_pictures(client, image, problem) -> None:
    told = problem(upscale(client, image, model="latent"), 400, "unknown_model")
    assert told["errors"][0]["field"] == "model"


def test_the_flat_interface_takes_a_second_pass(client, context):
    body = {"prompt": "x", "upscale": {"factor": 1.5, "model": "lanczos"}, "timeout": 0}
    answer = client.post("/api/v1/txt2img", json=body)
    assert answer.status_code == 202, answer.text
    assert context.jobs.get(answer.json["job_id"]).request.upscale.factor == 1.5
