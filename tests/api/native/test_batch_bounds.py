"""What a batch may cost: memory, fetches, time, and the images that it is charged for."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from app import create_app
from app.core.batches.plan import LONGEST_PROMPT, MOST_TEMPLATE_CHARS
from app.services.batches import grid, prepare
from app.services.media import input_images

SMALL = {"width": 128, "height": 128}


def post(client, body: dict[str, Any], **query: Any):
    return client.post("/api/batches", json=body, query_string=query)


def test_replaced_words_do_not_grow_without_end(client):
    values = ["y" * (LONGEST_PROMPT // 400)] * 5
    axes = [{"field": "prompt_replace", "search": "Q", "values": values}]
    answer = post(client, {"prompt": "Q" * 480, "dry_run": True, "settings": SMALL, "axes": axes})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "axes.0.values")


def test_what_jobs_share_is_kept_for_few(client, monkeypatch):
    """A plan of many keys keeps no request, and no prompt, of each."""
    kept: list[int] = []
    made = prepare.JobPreparer._asked

    def watched(self, job):
        found = made(self, job)
        kept.append(max((len(known.prompt or "") for known in self._inputs._values.values()), default=0))
        assert len(self._inputs) <= prepare.MOST_KEPT
        return found

    monkeypatch.setattr(prepare.JobPreparer, "_asked", watched)
    axes = [{"field": "settings.guidance_scale", "values": [1 + number / 1000 for number in range(400)]}]
    assert post(client, {"prompt": "a house", "dry_run": True, "settings": SMALL, "axes": axes}).status_code == 200
    assert set(kept) == {0}


def test_templates_have_a_bound_together(client):
    values = ["{" + "|" * 4000 + "}"] * (MOST_TEMPLATE_CHARS // 4000 + 1)
    answer = post(client, {"dry_run": True, "prompt": "", "axes": [{"field": "prompt", "values": values}]})
    assert answer.status_code == 400
    assert "characters" in answer.json["detail"]


@pytest.mark.parametrize("works", [True, False])
def test_a_picture_is_fetched_once_for_all_jobs(client, monkeypatch, works, png):
    fetched = []

    def from_url(context, role, url, seconds):
        fetched.append(url)
        if works:
            return png
        raise input_images._invalid(role, "could not be fetched: the server answered 404")

    monkeypatch.setattr(input_images, "_from_url", from_url)
    axes = [
        {"field": "settings.guidance_scale", "values": [2, 3, 4]},
        {"field": "settings.width", "values": [128, 192]},
    ]
    body = {"prompt": "a house", "image": "https://pictures.example/x.png", "axes": axes, "seeds": 3, "dry_run": True}
    assert post(client, body).status_code == (200 if works else 400)
    assert fetched == ["https://pictures.example/x.png"]


def test_pictures_are_read_once_for_jobs_that_prepare_them_alike(client, monkeypatch, png_base64):
    read = []
    decoding = input_images._decode
    monkeypatch.setattr(input_images, "_decode", lambda *given: read.append(1) or decoding(*given))
    axes = [{"field": "settings.guidance_scale", "values": [2, 3, 4, 5]}]
    body = {"prompt": "a {red|blue} house", "image": png_base64, "axes": axes, "seeds": 2, "dry_run": True}
    assert post(client, body).status_code == 200
    assert len(read) == 1


def test_checking_has_an_end(client, monkeypatch):
    monkeypatch.setattr(prepare, "MOST_SECONDS", -1)
    answer = post(client, {"prompt": "a house", "seeds": 3, "dry_run": True})
    assert answer.status_code == 400
    assert "seconds to check" in answer.json["detail"]


@pytest.mark.parametrize("settings", [[1], 5, "abc"])
def test_settings_that_are_no_object_are_refused_by_their_line(client, settings):
    line = json.dumps({"prompt": "x", "settings": settings})
    answer = client.post("/api/batches?num_images=1", data=line, content_type="application/x-ndjson")
    assert answer.status_code == 400, answer.text
    assert answer.json["errors"]


def test_a_sheet_has_rows_that_fit_into_memory(client, batch_of, monkeypatch):
    monkeypatch.setattr(grid, "MOST_ROW_PIXELS", 100_000)
    answer = client.get(f"/api/batches/{batch_of(4)}/grid?cell=1024")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "cell")


def test_a_client_has_one_sheet_drawn_at_a_time(client, batch_of, monkeypatch):
    monkeypatch.setattr("app.api.native.batch_results.SHEET_PATIENCE_SECONDS", 0.01)
    batch_id = batch_of(4)
    first = client.get(f"/api/batches/{batch_id}/grid", buffered=False)
    assert client.get(f"/api/batches/{batch_id}/grid").status_code == 503
    first.close()
    assert client.get(f"/api/batches/{batch_id}/grid").status_code == 200


def test_a_dry_run_waits_for_its_turn_shortly(client, context, monkeypatch, problem):
    """They are sent while one types: each that waits holds a thread of the server."""
    waited = []
    taking = context.batch_slots.taking

    def watched(client_id, *, timeout, refusal):
        waited.append((client_id, timeout))
        return taking(client_id, timeout=0 if len(waited) == 2 else timeout, refusal=refusal)

    monkeypatch.setattr(context.batch_slots, "taking", watched)
    body = {"prompt": "a house", "settings": SMALL, "seeds": 2}
    assert post(client, body | {"dry_run": True}).status_code == 200
    client_id, patience = waited[0]
    with taking(client_id, timeout=0, refusal="-"):
        answer = post(client, body | {"dry_run": True})
    assert "Try again" in problem(answer, 503, "unavailable")["detail"]
    assert "Retry-After" in answer.headers
    assert post(client, body).status_code == 202
    assert patience == waited[1][1] <= 1 < waited[2][1]


@pytest.fixture
def batch_of(client):
    """Submit a batch of so many jobs; gives its id."""

    def make(number: int) -> str:
        axes = [{"field": "settings.guidance_scale", "values": [1 + each / 10 for each in range(number)]}]
        return post(client, {"prompt": "a house", "settings": SMALL, "axes": axes}).json["batch_id"]

    return make


@pytest.fixture
def png() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (128, 128), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def png_base64(png) -> str:
    import base64

    return base64.b64encode(png).decode()


@pytest.fixture
def charged(settings_in, tmp_path):
    """How many images a request was charged for, out of a thousand."""
    app = create_app(settings_in(tmp_path, rate_limit_generate="1000 per day"))
    client = app.test_client()

    def charge(path: str, **request: Any) -> int:
        def left() -> int:
            answer = client.post("/api/generate", json={"prompt": "x", "settings": {"num_images": 1}})
            return int(answer.headers["X-RateLimit-Remaining"])

        before = left()
        answer = client.post(path, **request)
        assert answer.status_code < 500, answer.text
        return before - left() - 1

    charge.client = client
    yield charge
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize(
    "line",
    [{"settings": {"num_images": 4}}, {"settings": {"n": 4}}, {"settings": {"num_images": 4.0}}, {"num_images": 4}],
)
def test_lines_are_charged_in_every_spelling(charged, line):
    text = "\n".join(json.dumps({"prompt": "x", **line}) for _ in range(3))
    assert charged("/api/batches", data=text, content_type="application/x-ndjson") == 12


@pytest.mark.parametrize("field", ["num_images", "settings.num_images", "settings.n"])
@pytest.mark.parametrize("value", [4, 4.0])
def test_axes_are_charged_in_every_spelling(charged, field, value):
    assert charged("/api/batches", json={"prompt": "x", "axes": [{"field": field, "values": [value]}]}) == 4


def test_only_calls_of_a_tool_are_charged_as_such(charged):
    body = {"prompt": "x", "n_iter": 8, "params": {"name": "submit_batch"}}
    assert charged("/sdapi/v1/txt2img", json={**body, "batch_size": 1, "width": sys.maxsize}) == 8


def test_retries_are_charged_by_their_images(charged):
    client = charged.client
    body = {"prompt": "a house", "settings": {**SMALL, "num_images": 2}, "seeds": 3}
    batch_id = client.post("/api/batches", json=body).json["batch_id"]
    client.post(f"/api/batches/{batch_id}/cancel")
    assert charged(f"/api/batches/{batch_id}/retry-failed", json={"cancelled": True}) == 6
