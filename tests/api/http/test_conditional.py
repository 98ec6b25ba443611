"""Conditional and range requests (RFC 9110, sections 13 and 14), header by header."""

from __future__ import annotations

from datetime import timedelta

import pytest
from werkzeug.http import http_date

PARTS = ("", "/thumbnail", "/metadata")
FILES = ("", "/thumbnail")


@pytest.fixture
def image(client, worker, submit) -> str:
    submit()
    (image_id,) = worker.finish()
    return f"/api/image/{image_id}"


@pytest.fixture
def get(client, image):
    return lambda part="", method="GET", **headers: client.open(
        image + part, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def etag(answer) -> str:
    return answer.headers["ETag"]


# --- If-None-Match, If-Modified-Since


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("part", PARTS)
def test_if_none_match(get, part, method):
    whole = get(part)
    known = etag(whole)
    assert not known.startswith("W/")
    for held in (known, "*", f"W/{known}", f'"x", {known}', f'"x",W/{known} , "y"'):
        answer = get(part, method, If_None_Match=held)
        assert (answer.status_code, answer.data) == (304, b""), held
        assert etag(answer) == known
        assert answer.headers["Cache-Control"] == whole.headers["Cache-Control"]
        assert "Content-Length" not in answer.headers or answer.headers["Content-Length"] == "0"
    for held in ('"x"', 'W/"x", "y"', known.strip('"')[:10]):
        assert get(part, method, If_None_Match=held).status_code == 200, held


@pytest.mark.parametrize("part", FILES)
def test_if_modified_since(get, part):
    modified = get(part).last_modified
    for moment, status in ((modified, 304), (modified + timedelta(days=1), 304), (modified - timedelta(days=1), 200)):
        assert get(part, If_Modified_Since=http_date(moment)).status_code == status
    assert get(part, If_Modified_Since="yesterday").status_code == 200
    later = http_date(modified + timedelta(days=1))
    assert get(part, If_None_Match='"x"', If_Modified_Since=later).status_code == 200  # the stronger one wins
    assert get(part, If_None_Match=etag(get(part)), If_Modified_Since=http_date(0)).status_code == 304


# --- If-Match, If-Unmodified-Since


@pytest.mark.parametrize("part", PARTS)
def test_if_match(get, part, problem):
    known = etag(get(part))
    for held in (known, "*", f'"x", {known}'):
        assert get(part, If_Match=held).status_code == 200, held
    for held in ('"x"', f"W/{known}"):  # compared strongly
        problem(get(part, If_Match=held), 412, "precondition_failed")
        assert get(part, "HEAD", If_Match=held).status_code == 412
    problem(get(part, If_Match='"x"', If_None_Match=known), 412, "precondition_failed")  # before anything else
    assert get(part, If_Match=known, If_None_Match=known).status_code == 304


@pytest.mark.parametrize("part", FILES)
def test_if_unmodified_since(get, part, problem):
    whole = get(part)
    modified = whole.last_modified
    earlier = http_date(modified - timedelta(days=1))
    problem(get(part, If_Unmodified_Since=earlier), 412, "precondition_failed")
    assert get(part, If_Unmodified_Since=http_date(modified)).status_code == 200
    assert get(part, If_Unmodified_Since="never").status_code == 200
    assert get(part, If_Unmodified_Since=earlier, If_Match=etag(whole)).status_code == 200  # If-Match wins


def test_a_picture_is_deleted_only_if_it_is_the_one_that_was_meant(get, problem):
    known = etag(get())
    problem(get(method="DELETE", If_Match='"x"'), 412, "precondition_failed")
    assert get().status_code == 200
    assert get(method="DELETE", If_Match=known).status_code == 204
    problem(get(If_None_Match=known), 410, "gone")


# --- Range


@pytest.mark.parametrize("part", FILES)
def test_one_range(get, part):
    whole = get(part)
    size = len(whole.data)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for asked, start, end in (
        ("bytes=0-9", 0, 9),
        ("bytes=5-", 5, size - 1),
        ("bytes=-7", size - 7, size - 1),
        (f"bytes=-{size * 2}", 0, size - 1),
        (f"bytes=10-{size * 2}", 10, size - 1),
        ("bytes=0-0", 0, 0),
        ("BYTES= 1-2", 1, 2),
        ("bytes=0-4,5-9", 0, 9),  # side by side
        ("bytes=0-6, 3-9", 0, 9),  # over each other
        (f"bytes=0-9,{size}-", 0, 9),  # only one can be had
    ):
        answer = get(part, Range=asked)
        assert answer.status_code == 206, asked
        assert answer.data == whole.data[start : end + 1]
        assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{size}"
        assert answer.headers["Content-Length"] == str(end - start + 1)
        assert etag(answer) == etag(whole)


@pytest.mark.parametrize(
    "asked",
    ["bites=0-1", "bytes", "bytes=", "bytes=a-b", "bytes=5-1", "bytes=--1", "bytes=0-1;2", "0-1", "bytes=0-1,x"],
)
def test_a_range_that_is_not_understood_is_ignored(get, asked):
    whole = get()
    answer = get(Range=asked)
    assert (answer.status_code, answer.data) == (200, whole.data)


def test_ranges_apart_are_answered_with_the_whole(get):
    assert get(Range="bytes=0-1,10-11").status_code == 200


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=99999999999999999999-", "bytes=-0", "bytes={size}-,-0"])
def test_a_range_that_cannot_be_had(get, part, asked):
    size = len(get(part).data)
    answer = get(part, Range=asked.format(size=size))
    assert (answer.status_code, answer.mimetype) == (416, "application/problem+json")
    assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_range_is_for_get_alone(get):
    answer = get(method="HEAD", Range="bytes=0-1")
    assert (answer.status_code, answer.data) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(get().data)
    assert get("/metadata", Range="bytes=0-1").status_code == 200  # it has no parts


def test_if_range(get):
    whole = get()
    known, modified = etag(whole), whole.last_modified
    for held in (known, http_date(modified)):
        assert get(Range="bytes=0-1", If_Range=held).status_code == 206, held
    for held in (f"W/{known}", '"x"', http_date(modified + timedelta(days=1)), http_date(0), "nonsense", "*"):
        answer = get(Range="bytes=0-1", If_Range=held)
        assert (answer.status_code, answer.data) == (200, whole.data), held
    beyond = f"bytes={len(whole.data)}-"
    assert get(Range=beyond, If_Range='"x"').status_code == 200
    assert get(Range=beyond, If_Range=known).status_code == 416
    assert get(If_Range=known).status_code == 200


def test_a_condition_comes_before_a_range(get):
    known = etag(get())
    assert get(Range="bytes=0-1", If_None_Match=known).status_code == 304
    assert get(Range="bytes=0-1", If_None_Match='"x"').status_code == 206
    assert get(Range="bytes=0-1", If_Match='"x"').status_code == 412


@pytest.mark.parametrize("asked", ["bites=0-1", "bytes=0-1", "bytes=999999999-", "nonsense"])
def test_static_files_come_whole(client, asked):
    whole = client.get("/static/js/main.js").data
    answer = client.get("/static/js/main.js", headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, whole)
