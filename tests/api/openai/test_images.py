"""OpenAI's image requests: translated, answered, refused in its shape, and under all the rules of the API."""

from __future__ import annotations

import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app import create_app
from app.api.openai.translation import VARIATION_PROMPT
from app.core.safety import SafetyResult
from app.errors import ContentBlocked
from tests.waiting import wait_until

GENERATIONS, EDITS, VARIATIONS = (f"/v1/images/{name}" for name in ("generations", "edits", "variations"))
BODY = {"prompt": "a red fox", "model": "demo"}


@pytest.fixture
def error():
    """Checks that a response is an error in OpenAI's shape, and gives its members."""

    def check(response, status: int, code: str) -> dict:
        assert response.status_code == status, response.text
        assert response.mimetype == "application/json"
        assert set(response.json) == {"error"}
        found = response.json["error"]
        assert set(found) == {"message", "type", "param", "code"}
        assert found["code"] == code, found
        assert found["message"]
        return found

    return check


def png(mode: str = "RGB", size: tuple[int, int] = (64, 64), colour="red") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def pending(context):
    [job] = context.jobs.waiting()
    return job


@pytest.fixture
def quick(settings_in, tmp_path, request):
    """A client of a server that waits for nothing, and its context."""

    def make(**settings):
        app = create_app(settings_in(tmp_path, **{"sync_timeout_seconds": 0.01, **settings}))
        request.addfinalizer(app.extensions["cyberimage"].close)
        return app.test_client(), app.extensions["cyberimage"].context

    return make


@pytest.mark.parametrize("path", [GENERATIONS, "/api/openai/v1/images/generations"])
def test_a_picture(client, worker, next_job, path):
    with next_job(worker.finish):
        answer = client.post(path, json=BODY | {"n": 2, "seed": 5, "user": "somebody"})
    assert answer.status_code == 200, answer.text
    body = answer.json
    assert [base64.b64decode(one["b64_json"])[:4] for one in body["data"]] == [b"\x89PNG"] * 2
    assert [one["seed"] for one in body["data"]] == [5, 6]
    assert (body["size"], answer.headers["X-Image-Size"]) == ("64x48", "64x48")  # as it was drawn
    assert body["usage"]["total_tokens"] == 0
    assert (body["safety_identifier"], body["warnings"]) == ("somebody", [])
    assert client.get(f"/api/status/{answer.headers['X-Job-Id']}").json["status"] == "COMPLETED"


def test_fields_become_settings(quick):
    client, context = quick()
    extensions = {"steps": 8, "negative_prompt": "fog", "guidance_scale": 3, "seed": 9, "moderation": "low"}
    model = "sd15"
    client.post(GENERATIONS, json={"prompt": "x", "model": model, "n": 3, "size": "auto", **extensions})
    request = pending(context).request
    assert (request.num_images, request.num_inference_steps, request.guidance_scale) == (3, 8, 3.0)
    assert (request.negative_prompt, request.seed, request.model_id) == ("fog", 9, model)


@pytest.mark.parametrize(("quality", "steps"), [("low", 4), ("medium", 10), ("auto", 10), ("high", 20), ("hd", 20)])
def test_quality_is_a_number_of_steps(quick, quality, steps):
    line = 'ruled;owner/ruled;R;huggingface;false;{"steps": {"min": 4, "max": 20, "default": 10}}'
    client, context = quick(model_lines={"MODEL_R": line})
    client.post(GENERATIONS, json={"prompt": "x", "model": "ruled", "quality": quality})
    assert pending(context).request.num_inference_steps == steps


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ("512x512", (512, 512)),
        ("1024x1024", (512, 512)),
        ("1024x512", (512, 256)),
        ("70x60", (112, 96)),
        ("1x9000", None),
    ],
)
def test_the_nearest_size(quick, size, drawn):
    limits = '{"limits": {"min_width": 96, "min_height": 96, "max_width": 512, "max_height": 512, "multiple_of": 16}}'
    client, context = quick(model_lines={"MODEL_S": f"sized;owner/s;S;huggingface;false;{limits}"})
    client.post(GENERATIONS, json={"prompt": "x", "model": "sized", "size": size})
    request = pending(context).request
    assert (request.width, request.height) == (drawn or (96, 512))


def test_what_is_not_used_is_told(client, worker, next_job):
    sent = {"style": "vivid", "background": "transparent", "size": "1000x999", "frame_count": 3}
    with next_job(worker.finish):
        warnings = client.post(GENERATIONS, json=BODY | sent).json["warnings"]
    assert [word for word in ("style", "transparent", "1000x999", "frame_count") if word in " ".join(warnings)] == [
        *("style", "transparent", "1000x999", "frame_count")
    ]


def test_urls_are_absolute_and_signed(settings_in, tmp_path, next_job, client, worker):
    with next_job(worker.finish):
        [one] = client.post(GENERATIONS, json=BODY | {"response_format": "url"}).json["data"]
    assert one["b64_json"] is None
    assert one["url"].startswith("http://localhost/api/image/")
    assert client.get(one["url"].removeprefix("http://localhost")).status_code == 200


@pytest.mark.parametrize("unsigned", [True, False])
def test_urls_begin_with_the_public_url(settings_in, tmp_path, unsigned):
    from tests.api.conftest import Worker

    settings = {"public_url": "https://host.example/cyber"} | ({"signed_url_seconds": 0} if unsigned else {})
    app = create_app(settings_in(tmp_path, **settings))
    client, context = app.test_client(), app.extensions["cyberimage"].context
    key = {"Idempotency-Key": "one"}
    app.extensions["cyberimage"].context.settings = context.settings.model_copy(update={"sync_timeout_seconds": 0.01})
    base = {"headers": {**key, "Host": "host.example"}, "json": BODY | {"response_format": "url"}}
    assert client.post(GENERATIONS, **base).status_code == 504
    Worker(context).finish()
    [one] = client.post(GENERATIONS, **base).json["data"]
    assert one["url"].startswith("https://host.example/cyber/api/image/")
    assert ("signature=" in one["url"]) is not unsigned
    context.close()


def test_a_form_with_several_pictures_and_a_mask(quick, error):
    client, _ = quick()
    files = [("image[]", (io.BytesIO(png()), f"{name}.png")) for name in "ab"]
    data = {"prompt": "x", "n": "2", "image[]": [file for _, file in files], "mask": (io.BytesIO(png()), "m.png")}
    found = error(client.post(EDITS, data=data), 400, "input_model_unavailable")
    assert found["param"] == "image"  # this model edits one


def test_the_mask_is_turned_round(quick, context):
    client, own = quick()
    mask = Image.new("RGBA", (64, 64), (255, 255, 255, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    data = {"prompt": "x", "image": (io.BytesIO(png()), "blob"), "mask": (io.BytesIO(buffer.getvalue()), "m.png")}
    assert client.post(EDITS, data=data).status_code == 504
    job = pending(own)
    assert job.request.task == "inpaint"
    stored = own.inputs.pngs(job.id)["mask"]
    with Image.open(io.BytesIO(stored)) as kept:
        left, right = kept.getpixel((kept.width // 4, 9)), kept.getpixel((3 * kept.width // 4, 9))
    assert (left, right) == (255, 0)


def test_json_edits_take_data_uris(quick):
    client, context = quick()
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    for number, picture in enumerate(
        ({"image": uri}, {"image": [uri]}, {"images": [{"image_url": uri}]}, {"image": {"image_url": uri}})
    ):
        assert client.post(EDITS, json=BODY | picture).status_code == 504
        assert context.jobs.count_pending() == number + 1
    assert {job.request.task for job in context.jobs.waiting()} == {"img2img"}


def test_a_mask_without_transparency(client, error):
    uri = base64.b64encode(png()).decode()
    found = error(client.post(EDITS, json=BODY | {"image": uri, "mask": uri}), 400, "invalid_image")
    assert found["param"] == "mask"
    assert "transparen" in found["message"]


def test_a_variation_needs_no_prompt(quick):
    client, context = quick()
    assert client.post(VARIATIONS, data={"image": (io.BytesIO(png()), "a.png"), "n": "2"}).status_code == 504
    assert (pending(context).request.task, pending(context).request.num_images) == ("img2img", 2)


@pytest.mark.parametrize(
    ("sent", "status", "code", "param"),
    [
        ({}, 400, "invalid_request", "prompt"),
        ({"prompt": " "}, 400, "invalid_request", "prompt"),
        (BODY | {"model": "none"}, 404, "model_not_found", "model"),
        (BODY | {"n": 9}, 400, "invalid_request", "n"),
        (BODY | {"n": 0}, 400, "invalid_request", "n"),
        (BODY | {"size": "huge"}, 400, "invalid_request", "size"),
        (BODY | {"quality": "best"}, 400, "invalid_request", "quality"),
        (BODY | {"output_format": "gif"}, 400, "invalid_request", "output_format"),
        (BODY | {"steps": 0}, 400, "invalid_request", "steps"),
        (BODY | {"seed": -2}, 400, "invalid_request", "seed"),
        (BODY | {"prompt": "x" * 501}, 400, "prompt_too_long", "prompt"),
        (BODY | {"prompt": "<script>alert(1)</script>"}, 400, "suspicious_input", "prompt"),
        (BODY | {"webhook_url": "http://127.0.0.1/"}, 400, "invalid_request", "webhook_url"),
    ],
)
def test_what_is_wrong_is_named(client, error, context, sent, status, code, param):
    assert error(client.post(GENERATIONS, json=sent), status, code)["param"] == param
    assert not context.jobs.count_pending()


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("fail", 507, "out_of_memory"), ("block", 400, "content_policy_violation"), ("cancel", 409, "job_cancelled")],
)
def test_the_end_of_the_job_is_final(client, worker, next_job, context, error, how, status, code):
    ends = {
        "fail": worker.fail,
        "block": lambda: _fail_with(worker, context, ContentBlocked("Blocked.")),
        "cancel": lambda: client.post(f"/api/jobs/{context.jobs.waiting()[0].id}/cancel"),
    }
    with next_job(ends[how]):
        answer = client.post(GENERATIONS, json=BODY)
    error(answer, status, code)
    assert answer.headers["x-should-retry"] == "false"


def _fail_with(worker, context, wrong) -> None:
    claim = worker.claim()
    context.claims.fail(claim, wrong)
    context.notifications.publish("news", claim.job_id)


def test_a_picture_that_takes_longer_is_asked_for_again(quick, error):
    client, context = quick()
    first = client.post(GENERATIONS, json=BODY, headers={"x-stainless-retry-count": "0"})
    error(first, 504, "timeout")
    assert first.headers["Retry-After"] == "1"
    assert "x-should-retry" not in first.headers
    for tries in ("1", "2"):
        again = client.post(GENERATIONS, json=BODY, headers={"x-stainless-retry-count": tries})
        assert again.headers["X-Job-Id"] == first.headers["X-Job-Id"]
    other = client.post(GENERATIONS, json=BODY, headers={"x-stainless-retry-count": "0"})
    assert other.headers["X-Job-Id"] != first.headers["X-Job-Id"]  # meant as another picture
    newest = client.post(GENERATIONS, json=BODY, headers={"x-stainless-retry-count": "1"})
    assert newest.headers["X-Job-Id"] == other.headers["X-Job-Id"]
    client.post(f"/api/jobs/{other.headers['X-Job-Id']}/cancel")
    anew = client.post(GENERATIONS, json=BODY, headers={"x-stainless-retry-count": "1"})
    assert anew.headers["X-Job-Id"] not in (other.headers["X-Job-Id"], first.headers["X-Job-Id"])
    assert context.jobs.count_pending() == 2


def test_a_retry_joins_only_what_the_same_client_sent(quick):
    client, _ = quick(trusted_proxies=1)
    headers = [{"x-stainless-retry-count": str(tries), "X-Forwarded-For": f"10.0.0.{tries}"} for tries in (0, 1)]
    jobs = {client.post(GENERATIONS, json=BODY, headers=one).headers["X-Job-Id"] for one in headers}
    assert len(jobs) == 2


def test_the_same_idempotency_key(quick, error):
    client, _ = quick()
    answers = [client.post(GENERATIONS, json=BODY, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert len({answer.headers["X-Job-Id"] for answer in answers}) == 1
    other = client.post(GENERATIONS, json=BODY | {"prompt": "other"}, headers={"Idempotency-Key": "one"})
    error(other, 422, "idempotency_conflict")


def events(response) -> list[tuple[str, dict]]:
    blocks = [block for block in response.text.split("\n\n") if "event: " in block]
    lines = [[line for line in block.splitlines() if not line.startswith(":")] for block in blocks]
    return [(one[0].removeprefix("event: "), json.loads(one[1].removeprefix("data: "))) for one in lines]


def test_a_stream_ends_with_each_picture(client, worker, next_job):
    with next_job(worker.finish):
        found = events(client.post(GENERATIONS, json=BODY | {"stream": True, "n": 2, "output_format": "webp"}))
    assert [name for name, _ in found] == ["image_generation.completed"] * 2
    for name, data in found:
        assert data["type"] == name
        fields = {"b64_json", "background", "created_at", "output_format", "quality", "size", "usage"}
        assert fields <= set(data)
        assert base64.b64decode(data["b64_json"])[8:12] == b"WEBP"


def test_a_stream_tells_of_a_failure(app, client, worker, next_job):
    with next_job(worker.fail):
        [(name, data)] = events(client.post(GENERATIONS, json=BODY | {"stream": True}))
    assert (name, data["error"]["code"]) == ("error", "out_of_memory")
    wait_until(lambda: app.extensions["cyberimage"].stream_hub.open_streams == 0, "its place is not free again")


def test_a_stream_that_is_refused_keeps_no_place_and_makes_no_job(app, client, context, error):
    hub = app.extensions["cyberimage"].stream_hub
    error(client.post(GENERATIONS, json=BODY | {"stream": True, "model": "none"}), 404, "model_not_found")
    assert hub.open_streams == 0
    hub._max_listeners = 0
    error(client.post(GENERATIONS, json=BODY | {"stream": True}), 503, "unavailable")
    assert not context.jobs.count_pending()


def test_unknown_urls_and_methods(client, error):
    error(client.post("/v1/images/other", json={}), 404, "not_found")
    error(client.get(GENERATIONS), 405, "method_not_allowed")
    error(client.post(GENERATIONS, data="{", content_type="application/json"), 400, "invalid_request")
    error(client.post(GENERATIONS, data="x", content_type="text/plain"), 415, "unsupported_media_type")


def test_it_can_be_switched_off(settings_in, tmp_path, problem):
    app = create_app(settings_in(tmp_path, facades="none"))
    problem(app.test_client().post(GENERATIONS, json=BODY), 404, "not_found")
    problem(app.test_client().post("/api/openai/v1/images/generations", json=BODY), 404, "not_found")
    app.extensions["cyberimage"].close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        *(
            "prompt",
            "model",
            "n",
            "size",
            "quality",
            "response_format",
            "output_format",
            "output_compression",
            "stream",
        ),
        *("partial_images", "background", "seed", "steps", "strength", "loras", "scheduler", "image", "images", "mask"),
        *("num_frames", "webhook_url", "user"),
    ]
)
PICTURE = base64.b64encode(png()).decode()
BODIES = st.dictionaries(NAMES, JSON | st.sampled_from(["512x512", "auto", "low", "png", PICTURE, "demo", "1", "7"]))


@pytest.fixture(scope="module")
def patient_server(settings_in, tmp_path_factory):
    app = create_app(settings_in(tmp_path_factory.mktemp("any"), sync_timeout_seconds=0.001, queue_max_pending=100_000))
    yield app
    app.extensions["cyberimage"].close()


@given(body=BODIES, path=st.sampled_from([GENERATIONS, EDITS, VARIATIONS]))
def test_any_body_is_drawn_or_answered_in_its_shape(patient_server, body, path):
    """Never a 500: what is accepted is a job that waits."""
    context = patient_server.extensions["cyberimage"].context
    before = context.jobs.count_pending()
    answer = patient_server.test_client().post(path, json={"prompt": "x", **body, "stream": False})
    assert answer.status_code in (400, 404, 504), answer.text
    assert set(answer.json) == {"error"}
    assert context.jobs.count_pending() == before + (answer.status_code == 504)
    if answer.status_code == 504:  # accepted: what waits is what the body says
        request = context.jobs.get(answer.headers["X-Job-Id"]).request
        assert request.prompt == (body.get("prompt", "x") or VARIATION_PROMPT).strip()
        assert request.num_images == int(body.get("n") or 1)
        assert request.model_id == "demo"


def test_the_safety_result_is_of_the_job(client, worker, next_job):
    with next_job(worker.finish):
        answer = client.post(GENERATIONS, json=BODY)
    assert client.get(f"/api/status/{answer.json['job_id']}").json["safety_filter_result"] == SafetyResult.SKIPPED


@pytest.mark.parametrize(
    ("wanted", "members"), [(None, {"url", "b64_json"}), ("url", {"url"}), ("b64_json", {"b64_json"})]
)
def test_a_client_that_does_not_say_a_format_finds_the_member_it_reads(client, worker, next_job, wanted, members):
    """Those of DALL·E read `url`, those of GPT Image `b64_json`."""
    with next_job(worker.finish):
        [one] = client.post(GENERATIONS, json=BODY | {"response_format": wanted}).json["data"]
    assert {name for name in ("url", "b64_json") if one[name] is not None} == members
