"""Pictures in a bucket: sent through the server, or by a redirect, after the same checks as from a folder."""

from __future__ import annotations

import hashlib
import io
import zipfile
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from app import create_app
from app.services.ops.backup import back_up, restore


@pytest.fixture
def bucket(s3_server):
    return s3_server.new_bucket()


@pytest.fixture
def more():
    """Further settings; a test parametrizes it."""
    return {}


@pytest.fixture
def app(settings_in, tmp_path, s3_server, s3_proxy, bucket, more):
    store = {name.lower(): value for name, value in s3_server.environment(bucket, s3_proxy.url).items()}
    app = create_app(settings_in(tmp_path, **store, **more))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def image(client, submit, worker):
    submit("a red fox")
    return worker.finish()[0]


redirecting = pytest.mark.parametrize(
    "more", [{"media_redirect": True, "media_redirect_seconds": 60}], ids=["redirect"]
)


def test_the_file_and_its_parts(client, image):
    answer = client.get(f"/api/image/{image}")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.data)).size == (64, 48)
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.data).hexdigest()}"'
    assert answer.content_length == len(answer.data)
    assert answer.headers["Last-Modified"]
    part = client.get(f"/api/image/{image}", headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.data) == (206, answer.data[8:16])
    head = client.head(f"/api/image/{image}")
    assert (head.status_code, head.content_length) == (200, len(answer.data))
    same = client.get(f"/api/image/{image}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    small = client.get(f"/api/image/{image}/thumbnail")
    assert Image.open(io.BytesIO(small.data)).format == "WEBP"


def test_a_part_is_fetched_alone(client, image, s3_proxy):
    asked = len(s3_proxy.requests)
    client.get(f"/api/image/{image}", headers={"Range": "bytes=8-15"})
    ranges = [headers.get("Range") for method, _, headers in s3_proxy.requests[asked:] if method == "GET"]
    assert len(ranges) == 1
    assert ranges[0].startswith("bytes=8-")


def test_an_archive_is_made_of_it(client, image):
    answer = client.post("/api/images/zip", json={"ids": [image]})
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        (name,) = archive.namelist()
        assert Image.open(io.BytesIO(archive.read(name))).size == (64, 48)


def test_a_file_that_somebody_took_away(client, image, context, problem):
    context.images.remove(context.outputs.get(image).path)
    problem(client.get(f"/api/image/{image}"), 404, "image_not_found")


def test_the_end(client, image, s3_server, bucket, problem):
    assert len(s3_server.keys(bucket)) == 2
    assert client.delete(f"/api/image/{image}").status_code == 204
    assert s3_server.keys(bucket) == []
    problem(client.get(f"/api/image/{image}"), 410, "gone")


def test_while_the_store_is_away_it_is_told(client, image, s3_proxy, problem, monkeypatch):
    monkeypatch.setattr("app.files.s3.store.READ_PATIENCE_SECONDS", 0.0)
    s3_proxy.away.set()
    answer = client.get(f"/api/image/{image}")
    problem(answer, 503, "storage_unavailable")
    assert "the media store" in answer.json["detail"].lower()
    assert client.get("/readyz").status_code == 503
    assert "media store broke the connection" in client.get("/health").json["checks"]["disk"]
    disk = client.get("/status").json["disk"]
    assert (disk["free_bytes"], disk["percent"]) == (None, None)


@redirecting
def test_a_redirect_leads_to_the_store(client, image):
    for path, mime_type in ((f"/api/image/{image}", "image/png"), (f"/api/image/{image}/thumbnail", "image/webp")):
        answer = client.get(path)
        assert (answer.status_code, answer.data) == (307, b"")
        assert answer.headers["Cache-Control"] == "private, max-age=30"
        fetched = httpx.get(answer.headers["Location"])
        assert (fetched.status_code, fetched.headers["content-type"]) == (200, mime_type)
        assert parse_qs(urlsplit(answer.headers["Location"]).query)["X-Amz-Expires"] == ["60"]
        Image.open(io.BytesIO(fetched.content)).load()
    saved = client.get(f"/api/image/{image}?download=1")
    assert httpx.get(saved.headers["Location"]).headers["content-disposition"].startswith("attachment; filename=cyber")


@redirecting
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Dest": "empty"}, {"If-Match": "*"}, {"If-None-Match": '"other"'}, {"If-Range": '"x"'}]
)
def test_who_could_not_follow_is_sent_the_file(client, image, headers):
    assert client.get(f"/api/image/{image}", headers=headers).status_code == 200
    assert client.head(f"/api/image/{image}").status_code == 200


@redirecting
def test_the_page_may_show_pictures_of_the_store(client, s3_proxy):
    policy = client.get("/", headers={"Accept": "text/html"}).headers["Content-Security-Policy"]
    assert f"img-src 'self' blob: data: {s3_proxy.url};" in policy
    assert f"media-src 'self' blob: {s3_proxy.url};" in policy


@redirecting
def test_a_redirect_lasts_no_longer_than_the_signed_url_that_led_to_it(client, image):
    signed = client.post(f"/api/image/{image}/signed-url", json={"seconds": 20}).json["url"]
    answer = client.get(signed)
    assert answer.status_code == 307
    seconds = int(parse_qs(urlsplit(answer.headers["Location"]).query)["X-Amz-Expires"][0])
    assert 0 < seconds <= 20


@pytest.mark.parametrize("more", [{"media_redirect": True, "auth_mode": "keys"}], ids=["keys"])
def test_who_may_not_see_it_is_not_redirected(client, app, worker, context, problem):
    answer = client.get(f"/api/image/{'0' * 32}")
    problem(answer, 401, "unauthorized")
    assert "Location" not in answer.headers


def test_a_backup_holds_the_files_and_brings_them_back(client, image, context, s3_server, bucket, tmp_path):
    whole = client.get(f"/api/image/{image}").data
    backup = back_up(context, tmp_path / "backup")
    assert backup.files == 2
    output = context.outputs.get(image)
    assert (tmp_path / "backup" / "images" / output.path).read_bytes() == whole
    context.images.remove(output.path)
    context.outputs.remove(image)
    restored, missing = restore(context, tmp_path / "backup")
    assert (restored.files, missing) == (2, 0)
    assert client.get(f"/api/image/{image}").data == whole
