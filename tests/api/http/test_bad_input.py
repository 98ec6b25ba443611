"""What must not come in: each is a 4xx problem document with its code; nothing is enqueued, nothing is on the disk."""

from __future__ import annotations

import json

import pytest

from app import create_app


@pytest.fixture(scope="module")
def app(settings_in, tmp_path_factory):
    """One for all: none of these requests may leave anything behind."""
    app = create_app(settings_in(tmp_path_factory.mktemp("bad_input")))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(app, context):
    yield
    assert sum(context.jobs.counts().values()) == 0
    assert not any(context.images.root.rglob("*"))


def settings(**values):
    return {"prompt": "x", "settings": values}


BODIES = [
    ({}, "invalid_request", "prompt"),
    ({"prompt": ""}, "invalid_request", "prompt"),
    ({"prompt": " \n\t"}, "invalid_request", "prompt"),
    ({"prompt": None}, "invalid_request", "prompt"),
    ({"prompt": 7}, "invalid_request", "prompt"),
    ({"prompt": ["x"]}, "invalid_request", "prompt"),
    ({"prompt": "a\0b"}, "suspicious_input", "prompt"),
    ({"prompt": "a\7b"}, "invalid_request", "prompt"),
    ({"prompt": "x", "negative_prompt": "<script>alert(1)</script>"}, "suspicious_input", "negative_prompt"),
    ({"prompt": "\ud800"}, "invalid_request", "prompt"),
    ({"prompt": "x" * 501}, "prompt_too_long", "prompt"),
    ({"prompt": "x", "negative_prompt": "y" * 501}, "prompt_too_long", "negative_prompt"),
    ({"prompt": "x", "model_id": "no-such-model"}, "unknown_model", None),
    ({"prompt": "x", "model_id": "../../etc/passwd"}, "unknown_model", None),
    ({"prompt": "x", "model_id": 1}, "invalid_request", "model_id"),
    ({"prompt": "x", "colour": "red"}, "invalid_request", "colour"),
    ({"prompt": "x", "webhook_url": "http://127.0.0.1"}, "invalid_request", "webhook_url"),
    ({"prompt": "x", "settings": {"width": 512, "eta": 0.5}}, "invalid_request", "settings.eta"),
    ({"prompt": "x", "settings": []}, "invalid_request", "settings"),
    ({"prompt": "x", "priority": 11}, "invalid_request", "priority"),
    ({"prompt": "x", "priority": 1.5}, "invalid_request", "priority"),
    ({"prompt": "x", "priority": True}, "invalid_request", "priority"),
    (settings(width=1_000_000, height=512), "invalid_request", "settings.width"),
    (settings(width=0, height=512), "invalid_request", "settings.width"),
    (settings(width=-64, height=512), "invalid_request", "settings.width"),
    (settings(width=513, height=512), "invalid_request", "settings.width"),
    (settings(width="512", height=512), "invalid_request", "settings.width"),
    (settings(width=True, height=512), "invalid_request", "settings.width"),
    (settings(width=512.5, height=512), "invalid_request", "settings.width"),
    (settings(width=10**30, height=512), "invalid_request", "settings.width"),
    (settings(num_inference_steps=0), "invalid_request", "settings.num_inference_steps"),
    (settings(num_inference_steps=10**6), "invalid_request", "settings.num_inference_steps"),
    (settings(guidance_scale=-1), "invalid_request", "settings.guidance_scale"),
    (settings(guidance_scale=1e9), "invalid_request", "settings.guidance_scale"),
    (settings(guidance_scale="7"), "invalid_request", "settings.guidance_scale"),
    (settings(seed=-2), "invalid_request", "settings.seed"),
    (settings(seed=2**32), "invalid_request", "settings.seed"),
    (settings(seed=1.5), "invalid_request", "settings.seed"),
    (settings(num_images=0), "invalid_request", "settings.num_images"),
    (settings(num_images=9), "invalid_request", "settings.num_images"),
]


@pytest.mark.parametrize(("body", "code", "field"), BODIES, ids=[str(case[0])[:60] for case in BODIES])
def test_a_body_that_breaks_a_rule(client, problem, body, code, field):
    answer = client.post("/api/generate", data=json.dumps(body), content_type="application/json")
    found = problem(answer, 400, code)
    if field:
        assert field in [wrong["field"] for wrong in found["errors"]]


RAW = {
    "cut off": b'{"prompt": "x"',
    "empty": b"",
    "NaN": b'{"prompt": "x", "settings": {"guidance_scale": NaN}}',
    "Infinity": b'{"prompt": "x", "settings": {"guidance_scale": -Infinity}}',
    "overflow": b'{"prompt": "x", "settings": {"guidance_scale": 1e999}}',
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "a list": b'[{"prompt": "x"}]',
    "a string with JSON in it": json.dumps('{"prompt": "x"}').encode(),
    "null": b"null",
    "nested too deeply": b'{"prompt": ' + b"[" * 100_000,
    "a number of 5000 digits": b'{"prompt": "x", "priority": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", RAW)
def test_a_body_that_is_no_json_object(client, problem, name):
    problem(client.post("/api/generate", data=RAW[name], content_type="application/json"), 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_content_type_that_is_not_json(client, problem, content_type):
    answer = client.post("/api/generate", data=b'{"prompt": "x"}', content_type=content_type)
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-16", "latin-1"])
def test_a_charset_that_json_does_not_have(client, problem, charset):
    answer = client.post("/api/generate", data=b'{"prompt": "x"}', content_type=f"application/json; charset={charset}")
    assert "UTF-8" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("path", ["/docs/", "/api/models/", "/livez/"])
def test_a_slash_at_the_end(client, path):
    assert client.get(path).status_code == 200


def test_a_request_for_a_websocket_that_is_none(client, problem):
    """As from a proxy that drops the headers of the handshake."""
    for path in ("/stream/generate/txt2img", "/api/v1/stream/generate/img2img"):
        answer = client.get(path)
        assert "docs/DEPLOYMENT.md" in problem(answer, 426, "upgrade_required")["detail"]
        assert (answer.headers["Upgrade"], answer.headers["Sec-WebSocket-Version"]) == ("websocket", "13")


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("version", ["8", "14", "", "13, 8"])
def test_a_websocket_of_another_version(client, problem, version):
    answer = client.get("/stream/generate/txt2img", headers={**HANDSHAKE, "Sec-WebSocket-Version": version})
    assert "version 13" in problem(answer, 426, "upgrade_required")["detail"]
    assert answer.headers["Sec-WebSocket-Version"] == "13"


def test_a_websocket_where_there_is_none(client, problem):
    answer = client.get("/api/models", headers={**HANDSHAKE, "Sec-WebSocket-Version": "13"})
    assert "is no WebSocket" in problem(answer, 400, "invalid_request")["detail"]


def test_a_body_of_ten_megabytes(client, problem):
    answer = client.post("/api/generate", data=b'{"prompt": "' + b"x" * 10_000_000, content_type="application/json")
    problem(answer, 413, "payload_too_large")


def test_a_thousand_unknown_fields_make_a_short_answer(client, problem):
    found = problem(
        client.post("/api/generate", json={"prompt": "x", **{"f" * 1000 + str(n): 1 for n in range(900)}}),
        400,
        "invalid_request",
    )
    assert len(found["errors"]) == 20
    assert len(json.dumps(found)) < 10_000


def test_every_mistake_is_told_at_once(client, problem):
    found = problem(
        client.post("/api/generate", json={"prompt": 1, "a": 1, "settings": {"b": 1}}), 400, "invalid_request"
    )
    assert {wrong["field"] for wrong in found["errors"]} == {"prompt", "a", "settings.b"}


@pytest.mark.parametrize("key", ["", "x" * 256, "\x7f", "caf\xe9"])
def test_an_idempotency_key_that_is_not_plain(client, problem, key):
    found = problem(
        client.post("/api/generate", json={"prompt": "x"}, headers={"Idempotency-Key": key}), 400, "invalid_request"
    )
    assert found["errors"][0]["field"] == "Idempotency-Key"


IDS = ["0" * 32, "nonsense", "A" * 32, "0" * 31, "0" * 33, "%00", "é"]
PATHS = ["..%2f..%2fetc%2fpasswd", "../../etc/passwd", "a/b"]  # which no route has: an id is one segment
JOB_ROUTES = [
    ("GET", "/api/status/{}"),
    ("GET", "/api/jobs/{}/events"),
    ("POST", "/api/jobs/{}/cancel"),
    ("POST", "/api/jobs/{}/retry"),
]
IMAGE_ROUTES = [
    ("GET", "/api/image/{}"),
    ("DELETE", "/api/image/{}"),
    ("GET", "/api/image/{}/thumbnail"),
    ("GET", "/api/image/{}/metadata"),
]


@pytest.mark.parametrize("bad", IDS)
@pytest.mark.parametrize(("method", "route"), JOB_ROUTES)
def test_an_id_that_no_job_has(client, problem, method, route, bad):
    problem(client.open(route.format(bad), method=method), 404, "job_not_found")


@pytest.mark.parametrize("bad", IDS)
@pytest.mark.parametrize(("method", "route"), IMAGE_ROUTES)
def test_an_id_that_no_image_has(client, problem, method, route, bad):
    problem(client.open(route.format(bad), method=method), 404, "image_not_found")


@pytest.mark.parametrize("bad", PATHS)
@pytest.mark.parametrize(("method", "route"), JOB_ROUTES + IMAGE_ROUTES)
def test_a_path_instead_of_an_id(client, problem, method, route, bad):
    found = problem(client.open(route.format(bad), method=method), 404, "not_found")
    assert found["detail"].startswith(f"No route matches {method} /api/")
    assert found["detail"].endswith("; see /docs.")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("resource", ["thumbnail", "metadata", "signed-url", "rerun"])
def test_a_method_that_a_resource_of_an_image_does_not_have(client, problem, method, resource):
    """Whatever the body, and not taken for the image itself."""
    path = f"/api/image/{'0' * 32}/{resource}"
    for body in ({}, {"seconds": None}):
        problem(client.open(path, method=method, json=body), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=ten",
        "cursor=xyz",
        "cursor=%00",
        "cursor=bmFuIDAw",
        "cursor=MWU5OTkgMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA",
        "status=LOST",
        "media=sound",
        "search=%00",
        "model=%0a",
        "colour=red",
    ],
)
def test_a_gallery_filter_that_makes_no_sense(client, problem, query):
    found = problem(client.get(f"/api/images?{query}"), 400, "invalid_request")
    assert found["errors"][0]["field"] == query.split("=")[0]


def test_an_unknown_page_and_a_wrong_method(client, problem):
    problem(client.get("/api/nothing/here"), 404, "not_found")
    answer = client.delete("/api/generate")
    problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
