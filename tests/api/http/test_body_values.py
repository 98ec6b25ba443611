"""Values as people send them: what means the same is read the same, and no text makes the server fail."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from app import create_app

GOOD = [
    {"settings": {"seed": 7.0}},
    {"settings": {"width": 512.0, "height": 512, "num_images": 2.0, "num_inference_steps": 20.0}},
    {"settings": {"guidance_scale": 3}},
    {"priority": 0.0},
    {"priority": None},
    {"settings": None},
    {"settings": {"num_images": None, "seed": None, "loras": None, "width": None}},
    {"image": None, "mask": None, "negative_prompt": None, "model_id": None, "webhook_url": None},
]
BAD = [
    ({"settings": {"seed": 7.5}}, "settings.seed"),
    ({"settings": {"seed": True}}, "settings.seed"),
    ({"settings": {"guidance_scale": True}}, "settings.guidance_scale"),
    ({"settings": {"guidance_scale": False}}, "settings.guidance_scale"),
    ({"settings": {"seed": 1e300}}, "settings.seed"),
    ({"settings": {"width": 1e300, "height": 512}}, "settings.width"),
    ({"settings": {"guidance_scale": 10**400}}, "settings.guidance_scale"),
    ({"settings": {"loras": [{"id": "x", "scale": True}]}}, "settings.loras.0.scale"),
    ({"priority": 0.5}, "priority"),
    ({"priority": True}, "priority"),
    ({"priority": "0"}, "priority"),
    ({"colour": None}, "colour"),
]
ODD = {  # as it stands in the body
    "infinity": ("1e400", "must be a finite number"),
    "minus infinity": ("-1e400", "must be a finite number"),
    "NaN": ("NaN", "must be a finite number"),
    "a lone surrogate": (r'"x\ud800"', "U+D800"),
    "a NUL": (r'"x\u0000"', "U+0000"),
    "a surrogate in a name": (r'{"\udfff": 1}', "U+DFFF"),
    "deep inside": (r'[{"a": [["\ud800"]]}]', "U+D800"),
}
PLACES = {  # where it is put, what is named then
    "/api/generate": [
        ('{"prompt": "x", "model_id": %s}', "model_id"),
        ('{"prompt": "x", "negative_prompt": %s}', "negative_prompt"),
        ('{"prompt": "x", "image": %s}', "image"),
        ('{"prompt": "x", "webhook_url": %s}', "webhook_url"),
        ('{"prompt": "x", "settings": {"seed": %s}}', "settings.seed"),
        ('{"prompt": "x", "settings": {"loras": [{"id": %s}]}}', "settings.loras.0.id"),
        ('{"prompt": "x", "unknown": %s}', "unknown"),
    ],
    "/v1/txt2img": [('{"prompt": "x", "lora_path": %s}', "lora_path"), ('{"prompt": "x", "timeout": %s}', "timeout")],
    "/v1/img2img": [('{"prompt": "x", "image": %s}', "image")],
    "/v1/inference/demo": [('{"inputs": "x", "parameters": {"scheduler": %s}}', "parameters.scheduler")],
    "/v1/models/load": [('{"model_id": %s}', "model_id")],
    "/v1/loras/load": [('{"lora_path": %s}', "lora_path"), ('{"lora_path": "x", "name": %s}', "name")],
    "/v1/loras/unload": [('{"name": %s}', "name")],
    "/api/session": [('{"token": %s}', "token")],
    "/api/run-image-model": [
        ('{"model": "a/b", "input": {"prompt": "x", "deep": [{"er": %s}]}}', "input.deep.0.er"),
        ('{"model": %s, "input": {}}', "model"),
        ('{"model": "a/b", "input": {}, "source_image_id": %s}', "source_image_id"),
    ],
}


@pytest.fixture(scope="module")
def app(settings_in, tmp_path_factory):
    """One for all: there are hundreds of requests."""
    app = create_app(settings_in(tmp_path_factory.mktemp("values")))
    yield app
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize("more", GOOD, ids=str)
def test_the_same_in_other_words(client, more):
    answer = client.post("/api/generate", json={"prompt": "x", **more})
    assert answer.status_code == 202, answer.text


def test_a_whole_float_is_kept_as_the_integer(client):
    answer = client.post("/api/generate", json={"prompt": "x", "settings": {"seed": 7.0}})
    seed = client.get(answer.json["status_url"]).json["settings"]["seed"]
    assert (seed, type(seed)) == (7, int)


@pytest.mark.parametrize(("more", "field"), BAD, ids=[str(case[0])[:60] for case in BAD])
def test_what_is_no_such_number(client, problem, more, field):
    found = problem(client.post("/api/generate", json={"prompt": "x", **more}), 400, "invalid_request")
    assert field in [wrong["field"] for wrong in found["errors"]]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", PLACES)
def test_a_value_that_cannot_be_stored_is_named(client, problem, path, odd):
    value, words = ODD[odd]
    for body, field in PLACES[path]:
        answer = client.post(path, data=body % value, content_type="application/json")
        found = problem(answer, 400, answer.json["code"])
        assert found["code"] in ("invalid_request", "suspicious_input")
        named = [wrong for wrong in found["errors"] if wrong["field"].startswith(field)]
        assert named, answer.text
        if field != "negative_prompt":
            assert words in named[0]["message"]


def test_the_versioned_body_reads_numbers_alike(client):
    for more in ({"seed": 7.0, "width": 512.0, "height": 512.0}, {"num_images": None, "seed": None}):
        answer = client.post("/v1/txt2img", json={"prompt": "x", "timeout": 0, **more})
        assert answer.status_code == 202, answer.text
    answer = client.post("/v1/txt2img", json={"prompt": "x", "timeout": 0, "seed": 7.5})
    assert answer.json["errors"][0]["field"] == "seed"
    answer = client.post("/v1/inference/demo", json={"inputs": "x", "parameters": {"timeout": 0, "seed": 7.0}})
    assert answer.status_code == 504, answer.text


ADDRESSES = [
    "https://xn--a/",
    "https://xn--/",
    "https://exa\u2100mple.com/",
    "https://example.com/\ud800",
    "https://\ud800/",
    "https://[::1/",
    "https://[]/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 200 + "com/",
    "https://\u00ad/",
    "https://a..b/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://\u2488com/",
    "http://\t/",
    "https://",
]


@pytest.mark.parametrize("address", ADDRESSES, ids=ascii)
@pytest.mark.parametrize("field", ["webhook_url", "image"])
def test_an_address_that_is_none(client, problem, address, field):
    body = json.dumps({"prompt": "x", field: address})
    answer = client.post("/api/generate", data=body, content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize("text", ["%00", "%ff", "%ed%a0%80", "%c0%80", "%F0%9F%92"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/images?search={}",
        "/api/images?model={}",
        "/api/images?{}=1",
        "/api/images?cursor={}",
        "/api/webhooks/deliveries?job_id={}",
        "/api/webhooks/deliveries?{}=1",
        "/api/image/{}?download={}",
        "/api/status/{}",
        "/cleanup?dry_run={}",
        "/livez?{}={}",
        "/status?x={}",
    ],
)
def test_odd_bytes_in_a_query(client, path, text):
    answer = client.open(path.replace("{}", text), method="POST" if path.startswith("/cleanup") else "GET")
    assert answer.status_code < 500, answer.text
    if text == "%00" and "?" in path:
        assert answer.status_code in (400, 404)


HEADERS = (
    *("Host", "Origin", "Referer", "Sec-Fetch-Site", "Authorization", "Cookie", "Accept", "Accept-Language"),
    *("If-None-Match", "If-Modified-Since", "Range", "If-Range", "Last-Event-ID", "X-Request-Id", "Idempotency-Key"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "Content-Type", "Content-Encoding", "User-Agent"),
)
ODD_HEADERS = [
    "\xff\xfe",
    "http://[",
    "\xed\xa0\x80",
    "http://exa\x84mple",
    "bytes=\xff",
    'W/"',
    "a=\xff; b",
    ";;;,,,=",
]


@pytest.mark.parametrize("text", ODD_HEADERS, ids=ascii)
@pytest.mark.parametrize("name", HEADERS)
def test_odd_bytes_in_a_header(client, name, text):
    for method, path in (("GET", "/"), ("GET", "/api/images"), ("POST", "/api/generate"), ("GET", "/api/status/x")):
        body = {"data": b'{"prompt": "x"}'} if method == "POST" else {}
        answer = client.open(path, method=method, headers={"Content-Type": "application/json", name: text}, **body)
        assert answer.status_code < 500, (path, answer.text)


def test_odd_text_in_a_form(client, problem):
    for name in ("prompt", "model_id", "negative_prompt", "webhook_url", "settings", "no\0name", "image"):
        for text in ("a\0b", '{"seed": "\\ud800"}', "\xff"):
            answer = client.post("/api/generate", data={"prompt": "x", name: text}, content_type="multipart/form-data")
            assert answer.status_code in (202, 400), answer.text
            if "\0" in name + text:
                assert answer.status_code == 400


def test_what_is_left_empty_in_a_form_is_absent(client):
    form = "multipart/form-data"
    fields = ("negative_prompt", "model_id", "webhook_url", "settings", "priority", "image", "mask", "colour")
    answer = client.post("/api/generate", data={"prompt": "x"} | dict.fromkeys(fields, ""), content_type=form)
    assert answer.status_code == 202, answer.text
    answer = client.post(
        "/api/generate", data={"prompt": "x", "image": (io.BytesIO(b""), ""), "mask": (io.BytesIO(b""), "a.png")}
    )
    assert answer.status_code == 202, answer.text
    answer = client.post("/api/generate", data={"prompt": ""}, content_type=form)
    assert (answer.status_code, answer.json["errors"]) == (400, [{"field": "prompt", "message": "is required"}])
    picture = (io.BytesIO(png()), "a.png")
    answer = client.post("/api/generate", data={"prompt": "x", "image": picture, "mask": (io.BytesIO(b""), "")})
    assert answer.status_code == 202, answer.text
    picture = (io.BytesIO(png()), "a.png")
    answer = client.post("/v1/img2img", data={"prompt": "x", "timeout": "0", "seed": "", "image": picture, "mask": ""})
    assert answer.status_code == 202, answer.text


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("about", ["form-data", 'form-data; name="\r"', 'form-data; filename="a.png"'])
def test_a_part_without_a_name_is_refused(client, about):
    body = f"--b\r\nContent-Disposition: {about}\r\n\r\nx\r\n--b--\r\n"
    answer = client.post("/api/generate", data=body, content_type="multipart/form-data; boundary=b")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert answer.json["detail"] == "A part of the form has no name."
