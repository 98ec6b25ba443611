"""The files of a picture, its metadata and its end; the gallery."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image


@pytest.fixture
def image(client, submit, worker):
    submit("a red fox")
    return worker.finish()[0]


def test_the_file(client, image):
    answer = client.get(f"/api/image/{image}")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.data)).size == (64, 48)
    assert answer.headers["ETag"] == f'"{hashlib.sha256(answer.data).hexdigest()}"'
    assert "immutable" in answer.headers["Cache-Control"]
    assert "max-age=31536000" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" not in answer.headers.get("Content-Disposition", "")
    again = client.get(f"/api/image/{image}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_part_of_the_file(client, image):
    whole = client.get(f"/api/image/{image}").data
    part = client.get(f"/api/image/{image}", headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.data) == (206, whole[8:16])
    assert part.headers["Content-Range"] == f"bytes 8-15/{len(whole)}"


def test_a_part_that_is_not_there(client, image, problem):
    answer = client.get(f"/api/image/{image}", headers={"Range": "bytes=9999999-"})
    problem(answer, 416, "invalid_request")
    assert answer.headers["Content-Range"].startswith("bytes */")


def test_download(client, image):
    assert client.get(f"/api/image/{image}?download=1").headers["Content-Disposition"].startswith("attachment;")


def test_the_thumbnail(client, image):
    answer = client.get(f"/api/image/{image}/thumbnail")
    assert answer.mimetype == "image/webp"
    assert Image.open(io.BytesIO(answer.data)).format == "WEBP"
    again = client.get(f"/api/image/{image}/thumbnail", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_the_metadata(client, image):
    metadata = client.get(f"/api/image/{image}/metadata").json
    assert metadata["manifest"]["prompt"] == "a red fox"
    assert (metadata["image_id"], metadata["width"], metadata["height"]) == (image, 64, 48)


def test_the_end(client, image, context, problem):
    assert client.delete(f"/api/image/{image}").status_code == 204
    assert not [path for path in context.images.root.rglob("*") if path.is_file()]
    for method, path in (("GET", ""), ("GET", "/thumbnail"), ("GET", "/metadata"), ("DELETE", "")):
        problem(client.open(f"/api/image/{image}{path}", method=method), 410, "gone")


def test_a_file_that_somebody_took_away(client, image, context, problem):
    for path in context.images.root.rglob("*.png"):
        path.unlink()
    problem(client.get(f"/api/image/{image}"), 404, "image_not_found")


def gallery(client, **query):
    answer = client.get("/api/images", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def through(client, **query):
    """Every page of the gallery, one after the other."""
    pages, page = [], gallery(client, **query)
    while True:
        pages.append([item["image_id"] or item["job_id"] for item in page["images"]])
        if page["next_cursor"] is None:
            return pages
        page = gallery(client, **query, cursor=page["next_cursor"])


def test_the_gallery_in_pages(client, submit, worker):
    made = []
    for number in range(5):
        submit(f"picture {number}")
        made += worker.finish()
    assert through(client, limit=2) == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
    newest = gallery(client)["images"][0]
    assert (newest["prompt"], newest["status"], newest["error"]) == ("picture 4", "COMPLETED", None)
    assert newest["thumbnail_url"] == f"/api/image/{made[4]}/thumbnail"


def test_the_gallery_filters(client, submit, worker):
    submit("a Red fox")
    fox = worker.finish()
    submit("a 100% blue_bird", model_id="sd15")
    bird = worker.finish()
    assert through(client, search="red FOX") == [fox]
    assert through(client, search="100%") == through(client, search="blue_b") == through(client, model="sd15") == [bird]
    assert through(client, search="%") == [bird]
    assert through(client, media="video") == [[]]
    assert through(client, model="' OR 1=1 --") == [[]]
    made = gallery(client, search="red fox")["images"][0]["created_at"]
    assert through(client, search="red", since=made) == through(client, search="red", until="2100-01-01") == [fox]
    assert through(client, until=made, search="red") == through(client, since="2100-01-01T00:00:00+02:00") == [[]]
    assert client.get("/api/images?since=yesterday").status_code == 400


def test_generations_without_a_picture(client, submit, worker):
    failed = submit("will fail", settings={"seed": 3})
    worker.fail()
    waiting = [submit(f"waiting {number}") for number in range(3)]
    assert through(client) == [[]]
    assert through(client, status="PENDING", limit=2) == [[waiting[2], waiting[1]], [waiting[0]]]
    assert through(client, status="PENDING", search="WAITING 1") == [[waiting[1]]]
    assert through(client, status="PENDING", model="sd15") == [[]]
    assert through(client, status="PENDING", since="2100-01-01") == [[]]
    item = gallery(client, status="FAILED")["images"][0]
    assert (item["job_id"], item["image_id"], item["url"], item["seed"]) == (failed, None, None, 3)
    assert item["error"]["code"] == "out_of_memory"


def test_a_status_is_taken_in_any_case_and_a_timeout_is_a_failure(client, problem, submit):
    job_id = submit()
    assert [item["job_id"] for item in client.get("/api/images?status=pending").json["images"]] == [job_id]
    assert client.get("/api/images?status=Timeout").json["images"] == []
    problem(client.get("/api/images?status=lost"), 400, "invalid_request")
