"""Text is compressed as the client asks; pictures, streams and small answers are not."""

from __future__ import annotations

import gzip
import json

import brotli
import pytest

UNPACK = {"gzip": gzip.decompress, "br": brotli.decompress}
TEXTS = ("/openapi.json", "/metrics", "/static/css/composer.css", "/static/js/composer.js")


@pytest.fixture
def get(client):
    return lambda path, coding=None, method="GET", **headers: client.open(
        path,
        method=method,
        headers=({"Accept-Encoding": coding} if coding else {}) | headers,
    )


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("coding", UNPACK)
def test_text_is_compressed_as_asked(get, path, coding):
    plain = get(path).data
    answer = get(path, coding)
    assert answer.headers["Content-Encoding"] == coding
    assert len(UNPACK[coding](answer.data)) == pytest.approx(len(plain), rel=0.02)  # /metrics counts its requests
    assert len(answer.data) == int(answer.headers["Content-Length"]) < len(plain) / 2
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("path", TEXTS)
def test_without_a_wish_it_is_plain_and_varies_all_the_same(get, path):
    for coding in (None, "identity", "gzip;q=0, br;q=0", "nonsense"):
        answer = get(path, coding)
        assert "Content-Encoding" not in answer.headers
        assert "Accept-Encoding" in answer.headers["Vary"]


def test_head_has_the_headers_of_get(get):
    one, other = (get("/openapi.json", "gzip", method) for method in ("GET", "HEAD"))
    assert other.data == b""
    for name in ("Content-Encoding", "Content-Length", "Vary"):
        assert one.headers[name] == other.headers[name]


@pytest.mark.parametrize("coding", [None, "gzip", "br"])
def test_a_script_that_is_known_is_not_sent_again(get, coding):
    first = get("/static/js/composer.js", coding)
    again = get("/static/js/composer.js", coding, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_pictures_and_their_metadata_are_sent_as_they_are(get, client, worker, submit):
    submit(prompt="a boat " * 60)
    (image_id,) = worker.finish()
    for part in ("", "/thumbnail", "/metadata"):
        answer = get(f"/api/image/{image_id}{part}", "gzip, br")
        assert "Content-Encoding" not in answer.headers
        known = get(f"/api/image/{image_id}{part}", "gzip, br", **{"If-Match": answer.headers["ETag"]})
        assert known.status_code == 200


def test_small_answers_and_answers_to_post_are_not_compressed(get, client):
    assert "Content-Encoding" not in get("/livez", "gzip").headers
    answer = client.post("/api/generate", json={"prompt": ["x" * 4000]}, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert json.loads(answer.data)["code"] == "invalid_request"
