"""What holds for the native interface holds for every route of every façade.

The routes are read from the application, so that a new one is walked too.
"""

from __future__ import annotations

import base64
import io
import logging

import pytest
from PIL import Image

from app import create_app
from app.api.routing import policies_of
from app.config.facades import FACADES
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed
from tests.api.security.walk import code_of
from tests.waiting import wait_until


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (128, 128), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = picture()
# A request of each route that draws, without its prompt; how it names the number of pictures.
DRAWING = {
    "/api/openai/v1/images/generations": ({}, "n"),
    "/api/openai/v1/images/edits": ({"image": PICTURE}, "n"),
    "/api/openai/v1/images/variations": ({"image": PICTURE}, "n"),
    "/sdapi/v1/txt2img": ({}, "batch_size"),
    "/sdapi/v1/img2img": ({"init_images": [PICTURE]}, "n_iter"),
    "/sdapi/v1/extra-single-image": ({"image": PICTURE}, None),
    "/sdapi/v1/extra-batch-images": ({"imageList": [{"data": PICTURE}]}, "imageList"),
}
CODES = {"rate_limit_exceeded": "rate_limited"}  # of ours, by a façade's


@pytest.fixture
def keyed(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys", sync_timeout_seconds=0.01, rate_limit_generate="3/minute"))
    yield Keyed(app)
    app.extensions["cyberimage"].context.close()


@pytest.fixture(params=DRAWING)
def draw(request):
    """Sends a request to one of the routes."""
    body, _ = DRAWING[request.param]
    return lambda client, **more: client.post(request.param, json={"prompt": "a fox"} | body | more)


@pytest.fixture
def number(request):
    """The name of the number of pictures of the route of `draw`."""
    return DRAWING[request.node.callspec.params["draw"]][1]


def code(answer) -> str | None:
    found = code_of(answer)
    return CODES.get(found, found)


def test_every_route_that_draws_is_walked_here(keyed):
    policies = policies_of(keyed.app)
    drawing = {
        rule.endpoint
        for rule in keyed.app.url_map.iter_rules()
        if policies[rule.endpoint].facade in FACADES and policies[rule.endpoint].budget == "generate"
    }
    walked = {keyed.app.url_map.bind("localhost").match(path, method="POST")[0] for path in DRAWING}
    assert drawing == walked
    assert {policies[endpoint].facade for endpoint in drawing} == set(FACADES)


def test_a_key_is_needed(keyed, draw):
    answer = draw(keyed.nobody)
    assert (answer.status_code, code(answer)) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not keyed.context.jobs.count_pending()


def test_the_job_is_the_callers(keyed, draw):
    job_id = draw(keyed.alice).headers["X-Job-Id"]
    assert keyed.context.owners.of_job(job_id) == keyed.ids["alice"]
    assert keyed.bob.get(f"/api/status/{job_id}").status_code == 404
    assert keyed.alice.get(f"/api/status/{job_id}").status_code == 200


def test_a_picture_of_another_client_cannot_be_used(keyed, draw, request):
    """By its id in the gallery."""
    body, _ = DRAWING[request.node.callspec.params["draw"]]
    if not body:
        pytest.skip("it takes no picture")
    job_id = keyed.bob.post("/api/generate", json={"prompt": "x"}).json["job_id"]
    [image] = Worker(keyed.context).finish()
    assert keyed.bob.get(f"/api/status/{job_id}").json["status"] == "COMPLETED"
    [name] = body
    theirs = {"init_images": [image], "imageList": [{"data": image}]}
    answer = draw(keyed.alice, **{name: theirs.get(name, image)})
    assert (answer.status_code, code(answer)) == (400, "invalid_image")


def test_pictures_count_against_the_limit(keyed, draw, number):
    if number is None:
        pytest.skip("it makes one picture")
    two = {number: [{"data": PICTURE}] * 2 if number == "imageList" else 2}
    assert draw(keyed.alice, **two).status_code == 504
    answer = draw(keyed.alice, **two)
    assert (answer.status_code, code(answer)) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0
    assert draw(keyed.bob, **two).status_code == 504


def test_suspicious_prompts_are_refused(keyed, draw, request):
    if "extra" in request.node.callspec.params["draw"]:
        pytest.skip("it takes no prompt")
    answer = draw(keyed.alice, prompt="{{config.items()}}")
    assert (answer.status_code, code(answer)) == (400, "suspicious_input")


def test_webhooks_are_kept(keyed, draw):
    keyed.context.settings = keyed.context.settings.model_copy(update={"webhook_allow_private": True})
    job_id = draw(keyed.alice, webhook_url="http://127.0.0.1:9/hook").headers["X-Job-Id"]
    assert keyed.context.jobs.get(job_id).webhook_url == "http://127.0.0.1:9/hook"


def test_webhooks_to_private_addresses_are_refused(keyed, draw):
    answer = draw(keyed.alice, webhook_url="http://127.0.0.1:9/hook")
    assert (answer.status_code, code(answer)) == (400, "invalid_request")


def test_a_full_queue_is_said(keyed, draw):
    keyed.context.settings = keyed.context.settings.model_copy(update={"queue_max_pending": 0})
    answer = draw(keyed.alice)
    assert (answer.status_code, code(answer)) == (429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0


def test_pages_of_other_sites_are_refused(settings_in, tmp_path, draw):
    app = create_app(settings_in(tmp_path))
    with app.test_client() as client:
        client.environ_base |= {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "cross-site"}
        answer = draw(client)
    assert (answer.status_code, code(answer)) == (403, "forbidden")
    app.extensions["cyberimage"].context.close()


def test_the_same_idempotency_key_is_the_same_job(keyed, request):
    path = "/sdapi/v1/txt2img"
    headers = {"Idempotency-Key": "one"}
    jobs = [keyed.alice.post(path, json={"prompt": "x"}, headers=headers).headers["X-Job-Id"] for _ in range(2)]
    assert jobs[0] == jobs[1]


def test_metrics_and_log_name_the_facade(keyed, draw, caplog, monkeypatch, request):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.requests")
    draw(keyed.alice)
    name = "openai" if "openai" in request.node.callspec.params["draw"] else "a1111"
    assert f'facade="{name}"' in keyed.root.get("/metrics").text
    assert any(getattr(record, "facade", None) == name for record in caplog.records)


def test_the_prompt_stays_out_of_the_access_log(keyed, draw, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cyberimage"), "propagate", True)
    caplog.set_level("INFO", "cyberimage.requests")
    draw(keyed.alice, prompt="my secret prompt")
    wait_until(lambda: caplog.records, "nothing was logged")
    assert "secret" not in caplog.text
