"""Pictures to start from: every way in, every fault named, and nothing accepted without its pictures."""

from __future__ import annotations

import base64
import io
import json
import socket
import textwrap
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import numpy as np
import pytest
from flask import request
from PIL import Image

from app import create_app
from app.files.inputs import pixels_of

MODEL = (
    'tiny;/none;Tiny;local;false;{"tasks": ["txt2img", "img2img", "inpaint"], "defaults": {"width": 64, "height": 64},'
    ' "limits": {"min_width": 32, "min_height": 32, "max_width": 128, "max_height": 128}}'
)
EDITOR = (
    'editor;/none;Editor;local;false;{"tasks": ["txt2img", "edit"], "limits": {"min_width": 32, "min_height": 32,'
    ' "max_width": 128, "max_height": 128, "max_input_images": 3}}'
)
PLAIN = 'plain;/none;Plain;local;false;{"tasks": ["txt2img"]}'


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {"MODEL_T": MODEL, "MODEL_P": PLAIN, "MODEL_E": EDITOR}
    app = create_app(
        settings_in(tmp_path, model_lines=lines, default_model_id="tiny", max_body_bytes=2048, input_max_bytes=60_000)
    )
    yield app
    app.extensions["cyberimage"].close()


def png(size=(64, 64), colour="red", mode="RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def send(client):
    def send(image=None, mask=None, model_id="tiny", headers=None, **settings):
        body = {"prompt": "a boat", "model_id": model_id, "settings": settings}
        pictures = {name: text for name, text in (("image", image), ("mask", mask)) if text is not None}
        return client.post("/api/generate", json=body | pictures, headers=headers)

    return send


@pytest.fixture
def accepted(send, client, context):
    """Send what must be accepted; gives the status, and the pixels that were kept."""

    def check(*pictures, **more):
        answer = send(*pictures, **more)
        assert answer.status_code == 202, answer.text
        job_id = answer.json["job_id"]
        kept = {role: pixels_of(data) for role, data in context.inputs.pngs(job_id).items()}
        return client.get(f"/api/status/{job_id}").json, kept

    return check


RED = (255, 0, 0)


def is_red(pixels) -> bool:
    return (pixels == RED).all()


def test_base64_and_data_uris(accepted):
    data = png()
    for text in (
        coded(data),
        f"data:image/png;base64,{coded(data)}",
        f"data:text/plain;charset=x;base64,{coded(data)}",
        coded(data).rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        textwrap.fill(coded(data), 76),
        f" {coded(data)}\n",
        f"data:image/png;BASE64,{coded(data)}",
        f"Data:Image/PNG;name=a b.png;base64,{quote(coded(data), safe='')}",
        f"data:;base64,{coded(data)}",
        f"data:image/png,{quote(data)}",
    ):
        job, kept = accepted(text)
        assert job["task"] == "img2img"
        assert job["inputs"] == {"image": {"sha256": sha256(data).hexdigest(), "width": 64, "height": 64}}
        assert (job["settings"]["width"], job["settings"]["height"]) == (64, 64)
        assert is_red(kept["image"])
        assert job["warnings"] == []


def test_a_mask_makes_it_inpainting(accepted):
    job, kept = accepted(coded(png((96, 96))), coded(png((96, 96), 255, "L")))
    assert job["task"] == "inpaint"
    assert set(job["inputs"]) == {"image", "mask"}
    assert kept["image"].shape == (64, 64, 3)
    assert kept["mask"].shape == (64, 64)
    assert job["warnings"] == [
        "The image is 96 × 96 and was scaled to 64 × 64.",
        "The mask is white everywhere: the whole picture is repainted.",
    ]


def test_the_size_asked_for_wins(accepted):
    job, kept = accepted(coded(png()), width=96, height=48)
    assert kept["image"].shape == (48, 96, 3)
    assert (job["settings"]["width"], job["settings"]["height"]) == (96, 48)
    assert "was scaled and cropped to 96 × 48" in job["warnings"][0]


def test_strength_counts_the_steps(accepted):
    job, _ = accepted(coded(png()), num_inference_steps=20, strength=0.25)
    assert job["progress"]["total_steps"] == 5
    assert job["settings"]["num_inference_steps"] == 20


def test_a_picture_of_the_gallery(accepted, submit, worker):
    submit(model_id="tiny")
    image_id = worker.finish()[0]
    job, kept = accepted(image_id)
    assert job["inputs"]["image"]["image_id"] == image_id
    assert (kept["image"] == 0).all()


def test_an_upload(client, context):
    form = {
        "prompt": "a boat",
        "settings": json.dumps({"strength": 0.5, "num_inference_steps": 20}),
        "priority": "3",
        "image": (io.BytesIO(png()), "photo.exe"),
        "mask": (io.BytesIO(png(mode="L", colour=0)), "mask.png"),
    }
    answer = client.post("/api/generate", data=form, content_type="multipart/form-data")
    assert answer.status_code == 202, answer.text
    job = client.get(f"/api/status/{answer.json['job_id']}").json
    assert (job["task"], job["priority"], job["progress"]["total_steps"]) == ("inpaint", 3, 10)
    assert is_red(pixels_of(context.inputs.pngs(job["job_id"])["image"]))


def test_forms_say_what_is_wrong_with_them(client, problem):
    def post(**form):
        return client.post("/api/generate", data=form, content_type="multipart/form-data")

    assert "settings must be JSON" in problem(post(prompt="x", settings="{"), 400, "invalid_request")["detail"]
    assert problem(post(prompt="x", colour="red"), 400, "invalid_request")["errors"][0]["field"] == "colour"
    assert "twice" in problem(post(prompt=["x", "y"]), 400, "invalid_request")["detail"]
    problem(client.post("/api/images", data={}, content_type="multipart/form-data"), 405, "method_not_allowed")


@pytest.fixture
def web():
    """A server of pictures on loopback; `served[path]` is (status, headers, body)."""
    served = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = served[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.served, server.url = served, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def allow_private(app, monkeypatch):
    context = app.extensions["cyberimage"].context
    allowing = context.settings.model_copy(update={"input_allow_private": True, "input_fetch_seconds": 2.0})
    object.__setattr__(context, "settings", allowing)


def test_a_url(web, accepted, send, problem, allow_private):
    web.served["/a"] = (200, {"Content-Type": "text/html"}, png())
    web.served["/b"] = (302, {"Location": "/a"}, b"")
    for path in ("/a", "/b"):
        _, kept = accepted(web.url + path)
        assert is_red(kept["image"])
    web.served["/round"] = (302, {"Location": "/round"}, b"")
    web.served["/gone"] = (404, {}, b"")
    web.served["/large"] = (200, {}, b"x" * 70_000)
    web.served["/page"] = (200, {}, b"<html>")
    web.served["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    for path, message in (
        ("/round", "could not be fetched"),
        ("/gone", "the server answered 404"),
        ("/large", "has more than 60,000 bytes"),
        ("/page", "is not in a supported format"),
        ("/file", "could not be fetched"),
    ):
        assert message in problem(send(web.url + path), 400, "invalid_image")["detail"]


def test_a_private_address_is_never_called(web, send, problem):
    web.served["/a"] = (200, {}, png())
    name = web.url.replace("127.0.0.1", "localhost")  # only its resolution tells
    for url in (web.url, name, "http://169.254.169.254", "http://[::1]", "http://10.0.0.1"):
        found = problem(send(f"{url}/a"), 400, "invalid_image")
        assert found["errors"][0]["field"] == "image"
        assert "private address" in found["detail"]
    assert "user name" in problem(send("http://user:pw@8.8.8.8/"), 400, "invalid_image")["detail"]


def test_names_of_the_inner_network_are_told_apart_from_none_by_nothing(send, problem, monkeypatch):
    def resolve(host, *_, flags=0, **__):
        if host != "inner.test" or flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    inner, none = (
        problem(send(f"http://{host}/a"), 400, "invalid_image")["detail"].replace(host, "HOST")
        for host in ("inner.test", "outer.test")
    )
    assert inner == none


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("", "is empty"),
        ("not base64!", "is neither base64, a data URI"),
        ("ünïcode", "is neither base64"),
        ("abcde", "is neither base64"),
        ("data:image/png,abc", "is not in a supported format"),
        ("data:image/png;base64,abc~", "is neither base64"),
        ("data:image/png;base64,", "is empty"),
        (coded(b"no picture"), "is not in a supported format"),
        (coded(png()[:-50]), "is damaged"),
        ("0" * 32, "which is not in the gallery"),
        (coded(b"\0" * 61_000), "has more than 60,000 bytes"),
        ("A" * 90_000, "has more than 60,000 bytes"),
    ],
)
def test_bad_pictures_are_refused_and_nothing_is_kept(send, problem, context, image, message):
    found = problem(send(image), 400, "invalid_image")
    assert message in found["detail"]
    assert found["errors"][0]["field"] == "image"
    assert context.jobs.count_pending() == 0


def test_a_mask_of_another_shape_is_refused(send, problem):
    found = problem(send(coded(png()), coded(png((64, 32), 0, "L"))), 400, "invalid_image")
    assert (found["errors"][0]["field"], "same aspect ratio" in found["detail"]) == ("mask", True)


def test_a_hundred_megapixels_are_refused(send, problem):
    from tests.files.test_inputs import png_header

    assert (
        "at most 40,000,000 are allowed"
        in problem(send(coded(png_header(10_000, 10_000))), 400, "invalid_image")["detail"]
    )


@pytest.mark.parametrize("strength", [0, 0.01])
def test_a_strength_that_leaves_no_step_is_refused(send, problem, strength):
    found = problem(send(coded(png()), strength=strength, num_inference_steps=20), 400, "invalid_request")
    assert "use 0.05 or more" in found["detail"]


def test_a_model_that_cannot_is_told(send, problem):
    found = problem(send(coded(png()), model_id="plain"), 400, "unsupported_task")
    assert "plain cannot start from an image" in found["detail"]


def test_models_say_what_they_can_do(client):
    tasks = {model["id"]: model["tasks"] for model in client.get("/api/models").json["models"]}
    assert tasks["tiny"] == ["txt2img", "img2img", "inpaint"]
    assert tasks["plain"] == ["txt2img"]


def test_only_pictures_and_only_where_they_are_taken_may_be_large(app, problem, send):
    noise = np.random.default_rng(1).integers(0, 255, (120, 120, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert send(coded(buffer.getvalue())).status_code == 202
    problem(send("A" * 400_000), 413, "payload_too_large")
    assert send(coded(png()), mask="", model_id="x" * 3000).json["code"] == "payload_too_large"
    with app.test_request_context("/cleanup", method="POST"):
        app.preprocess_request()
        assert request.max_content_length == 2048


def test_another_picture_is_another_request(send, problem):
    headers = {"Idempotency-Key": "one"}
    first = send(coded(png()), headers=headers, seed=1)
    assert send(coded(png()), headers=headers, seed=1).json == first.json
    problem(send(coded(png(colour="blue")), headers=headers, seed=1), 422, "idempotency_conflict")


class TestSeveral:
    """Pictures by role: an edit takes several, in order."""

    @pytest.fixture
    def edit(self, client):
        def edit(*inputs, model_id="editor", among_settings=False, **more):
            sent = [{"role": role, "source": coded(data)} for role, data in inputs]
            body = {"prompt": "put the cat on the chair", "model_id": model_id, "settings": more.pop("settings", {})}
            where = body["settings"] if among_settings else body
            where["inputs"] = sent
            return client.post("/api/generate", json=body | more)

        return edit

    @pytest.mark.parametrize("among_settings", [False, True])
    def test_the_first_image_decides_the_size_and_the_others_keep_their_own(self, edit, context, among_settings):
        pictures = [("reference", png((48, 48))), ("image", png((64, 32))), ("image", png((96, 96), "blue"))]
        answer = edit(*pictures, among_settings=among_settings)
        assert answer.status_code == 202, answer.json
        job = context.jobs.get(answer.json["job_id"])
        assert (job.request.task, job.request.strength) == ("edit", None)
        assert (job.request.width, job.request.height) == (64, 32)
        assert list(job.request.slots) == ["image", "image-2", "ref"]
        kept = {slot: pixels_of(data).shape[:2] for slot, data in context.inputs.pngs(job.id).items()}
        assert kept == {"image": (32, 64), "image-2": (96, 96), "ref": (48, 48)}

    def test_the_status_names_them_by_slot(self, edit, client):
        job_id = edit(("image", png()), ("reference", png())).json["job_id"]
        assert list(client.get(f"/api/status/{job_id}").json["inputs"]) == ["image", "ref"]

    def test_image_and_inputs_add_up(self, edit, context):
        job_id = edit(("reference", png()), image=coded(png())).json["job_id"]
        assert list(context.jobs.get(job_id).request.slots) == ["image", "ref"]

    @pytest.mark.parametrize(
        ("roles", "model_id", "field"),
        [
            (["image"] * 4, "editor", "inputs"),
            (["image", "image"], "tiny", "inputs"),
            (["image", "reference"], "tiny", "inputs.1.model"),
            (["image", "mask", "mask"], "tiny", "inputs"),
            (["image", "reference", "mask"], "tiny", "inputs.1.model"),
            (["mask"], "tiny", "mask"),
        ],
    )
    def test_what_a_model_cannot_take_is_refused(self, edit, roles, model_id, field):
        answer = edit(*((role, png()) for role in roles), model_id=model_id)
        assert answer.status_code == 400
        assert field in [error["field"] for error in answer.json["errors"]]

    def test_a_role_that_there_is_not_is_refused(self, edit):
        answer = edit(("style", png()))
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "inputs.0.role")

    def test_a_strength_has_no_effect(self, edit):
        answer = edit(("image", png()), settings={"strength": 0.5})
        assert answer.status_code == 202
        assert "in an edit the prompt says it" in " ".join(answer.json["warnings"])

    def test_all_together_have_the_room_of_an_image_and_its_mask(self, edit):
        rng = np.random.default_rng(0)
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(buffer, "PNG")
        large = buffer.getvalue()
        assert 40_000 < len(large) < 60_000
        answer = edit(*[("image", large)] * 3)
        assert (answer.status_code, answer.json["code"]) in [(400, "invalid_image"), (413, "payload_too_large")]
        assert edit(*[("image", large)] * 2).status_code == 202

    def test_another_picture_is_another_request(self, edit, client):
        def send(colour):
            sent = [{"role": "image", "source": coded(png(colour=colour))}]
            body = {"prompt": "a", "model_id": "editor", "inputs": sent}
            return client.post("/api/generate", json=body, headers={"Idempotency-Key": "one"})

        first = send("red").json["job_id"]
        assert send("red").json["job_id"] == first
        assert send("blue").json["code"] == "idempotency_conflict"
