"""What each client of AUTOMATIC1111's interface sets, sees and stops: its own."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app import create_app
from app.store.queue.previews import Preview
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed, submit

TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture
def keyed(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys", sync_timeout_seconds=0.01))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


def draw(client, **more) -> str:
    answer = client.post(TXT2IMG, json={"prompt": "x", **more})
    assert answer.status_code == 504, answer.text
    return answer.headers["X-Job-Id"]


def progress(client) -> dict:
    answer = client.get("/sdapi/v1/progress")
    assert answer.status_code == 200, answer.text
    return answer.json


def checkpoint(client) -> str:
    return client.get("/sdapi/v1/options").json["sd_model_checkpoint"]


def test_a_model_is_chosen_for_one_client_only(keyed):
    assert keyed.alice.post("/sdapi/v1/options", json={"sd_model_checkpoint": "SD15", "own": [1]}).json is None
    assert (checkpoint(keyed.alice), checkpoint(keyed.bob)) == ("sd15", "demo")
    assert keyed.alice.get("/sdapi/v1/options").json["own"] == [1]
    assert keyed.context.jobs.get(draw(keyed.alice)).request.model_id == "sd15"
    assert keyed.context.jobs.get(draw(keyed.bob)).request.model_id == "demo"


def test_options_that_are_refused_change_nothing(keyed):
    assert keyed.alice.post("/sdapi/v1/options", json={"sd_model_checkpoint": "none"}).status_code == 400
    assert keyed.alice.post("/sdapi/v1/options", json={"big": "x" * 70_000}).status_code == 400
    for name in "ab":
        answer = keyed.alice.post("/sdapi/v1/options", json={name: "x" * 40_000})
    assert answer.status_code == 400, "the bound is of all together"
    assert keyed.alice.post("/sdapi/v1/options", json={"cls": 1, "_fields_set": 2}).status_code == 200
    assert checkpoint(keyed.alice) == "demo"
    assert "big" not in keyed.alice.get("/sdapi/v1/options").json


def test_progress_is_of_the_callers_own_job(keyed):
    job = draw(keyed.alice)
    assert progress(keyed.alice)["state"]["job_count"] == 1
    assert "queue" in progress(keyed.alice)["textinfo"]
    assert progress(keyed.bob)["state"]["job_count"] == 0
    worker = Worker(keyed.context)
    claim = worker.claim()
    worker.progress(claim, 3)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "blue").save(buffer, "WEBP")
    keyed.context.previews.put(job, Preview(1, 3, buffer.getvalue()))
    now = progress(keyed.alice)
    assert 0 < now["progress"] < 1
    assert (now["state"]["sampling_step"], now["state"]["job"]) == (3, job)
    assert base64.b64decode(now["current_image"])[:4] == b"\x89PNG"
    assert keyed.alice.get("/sdapi/v1/progress?skip_current_image=true").json["current_image"] is None
    assert progress(keyed.bob) == progress(keyed.root)
    worker.finish(claim)
    ended = progress(keyed.alice)
    assert (ended["progress"], ended["state"]["job_count"]) == (0.0, 0)


def test_a_task_is_the_clients_own_word(keyed):
    draw(keyed.alice, force_task_id="task(1)")

    def told(client):
        return client.post("/internal/progress", json={"id_task": "task(1)"}).json

    assert told(keyed.alice)["queued"]
    assert not any(told(keyed.bob)[name] for name in ("queued", "active", "completed"))
    Worker(keyed.context).finish()
    assert told(keyed.alice)["completed"]


@pytest.mark.parametrize(("verb", "ends"), [("interrupt", ["CANCELLED"] * 2), ("skip", ["PENDING"] * 2)])
def test_only_the_callers_own_jobs_are_stopped(keyed, verb, ends):
    """Neither another client's, nor what the same client submitted elsewhere."""
    mine, elsewhere, others = [draw(keyed.alice), draw(keyed.alice)], submit(keyed.alice), draw(keyed.bob)
    assert keyed.alice.post(f"/sdapi/v1/{verb}", json={}).json == {}
    assert [keyed.context.jobs.get(job).status for job in mine] == ends
    assert [keyed.context.jobs.get(job).status for job in (elsewhere, others)] == ["PENDING"] * 2


def test_skip_stops_the_running_one(keyed):
    running, waiting = draw(keyed.alice), draw(keyed.alice)
    Worker(keyed.context).claim()
    keyed.alice.post("/sdapi/v1/skip")
    assert keyed.context.jobs.get(running).cancel_requested
    assert not keyed.context.jobs.get(waiting).cancel_requested
    assert progress(keyed.alice)["state"]["interrupted"]


def basic(token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()}


def test_a_token_may_be_the_password(keyed):
    assert keyed.nobody.get("/sdapi/v1/options", headers=basic(keyed.tokens["alice"])).status_code == 200
    answer = keyed.nobody.post(TXT2IMG, json={"prompt": "x"}, headers=basic(keyed.tokens["alice"]))
    assert keyed.context.owners.of_job(answer.headers["X-Job-Id"]) == keyed.ids["alice"]


@pytest.mark.parametrize("token", ["", "wrong", "ci_" + "x" * 43, "é"])
def test_other_passwords_are_refused(keyed, token):
    assert keyed.nobody.get("/sdapi/v1/options", headers=basic(token)).status_code == 401


def test_passwords_are_for_this_interface_only(keyed):
    """Elsewhere they are a proxy's."""
    assert keyed.nobody.get("/api/models", headers=basic(keyed.tokens["alice"])).status_code == 401
    assert keyed.nobody.get("/v1/models", headers=basic(keyed.tokens["alice"])).status_code == 401


def test_a_page_of_another_site_cannot_use_a_browsers_password(keyed):
    """Browsers send it by themselves."""
    headers = basic(keyed.tokens["alice"]) | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert keyed.nobody.post(TXT2IMG, json={"prompt": "x"}, headers=headers).status_code == 403
    assert not keyed.context.jobs.count_pending()


def info_of(client, picture: bytes):
    return client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(picture).decode()})


def test_png_info_of_our_own_pictures_and_of_others(client, worker, submit):
    submit("a red fox, in the snow")
    [image] = worker.finish()
    ours = info_of(client, client.get(f"/api/image/{image}").data).json
    assert ours["info"].startswith("a red fox, in the snow\n")
    assert ours["parameters"]["Prompt"] == "a red fox, in the snow"
    assert ours["parameters"]["Model"] == "demo"
    buffer = io.BytesIO()
    text = PngInfo()
    text.add_text("parameters", 'a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 7, Note: "a, b"')
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=text)
    found = info_of(client, buffer.getvalue()).json["parameters"]
    assert (found["Prompt"], found["Negative prompt"], found["Seed"], found["Note"]) == ("a cat", "fog", "7", "a, b")


def test_png_info_of_nothing(client):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    assert info_of(client, buffer.getvalue()).json == {"info": "", "items": {}, "parameters": {}}
    assert info_of(client, b"no picture").json["error"] == "invalid_image"
    assert client.post("/sdapi/v1/png-info", json={"image": "%"}).json["error"] == "invalid_image"


def test_lists(client):
    assert {"title", "model_name", "filename"} <= set(client.get("/sdapi/v1/sd-models").json[0])
    for path in ("sd-vae", "hypernetworks", "face-restorers", "prompt-styles", "loras"):
        assert client.get(f"/sdapi/v1/{path}").json == []
    assert client.post("/sdapi/v1/refresh-checkpoints", json={}).json is None
    assert client.get("/sdapi/v1/memory").json["ram"]["total"] > 0


def test_models_of_videos_are_not_offered(settings_in, tmp_path):
    line = 'film;owner/film;Films;replicate;false;{"media": "video"}'
    app = create_app(settings_in(tmp_path, model_lines={"MODEL_F": line}))
    client = app.test_client()
    assert "film" not in [one["title"] for one in client.get("/sdapi/v1/sd-models").json]
    wanted = {"prompt": "x", "override_settings": {"sd_model_checkpoint": "film"}}
    assert client.post(TXT2IMG, json=wanted).json["error"] == "unsupported_task"
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize("path", ["interrogate"])
def test_what_is_not_done(client, path):
    answer = client.post(f"/sdapi/v1/{path}", json={"image": "x"})
    assert (answer.status_code, answer.json["error"]) == (501, "not_implemented")
