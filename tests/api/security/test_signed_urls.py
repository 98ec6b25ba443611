"""Signed URLs open the one file that they name, to any client, until they expire; and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.config import Settings
from app.core.job import JobView
from app.services import signed_urls
from app.services.jobs.status import view
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed, submit
from tests.api.security.walk import PUBLIC, SOMEBODY, Walk, canonical, plain, requests

Problem = Callable[[TestResponse, int, str], dict]


@pytest.fixture
def make_keyed(settings_in: Callable[..., Settings], tmp_path) -> Iterator[Callable[..., Keyed]]:
    made: list[Keyed] = []

    def make(**settings: object) -> Keyed:
        made.append(Keyed(create_app(settings_in(tmp_path, **{"auth_mode": "keys", **settings}))))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


@pytest.fixture
def keyed(make_keyed: Callable[..., Keyed]) -> Keyed:
    return make_keyed()


def picture_of(keyed: Keyed, client: FlaskClient) -> str:
    submit(client)
    (image_id,) = Worker(keyed.context).finish()
    return image_id


def signed(client: FlaskClient, image_id: str, **body: int) -> dict:
    answer = client.post(f"/api/image/{image_id}/signed-url", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = signed_urls.time.time()
    monkeypatch.setattr(signed_urls, "time", SimpleNamespace(time=lambda: now + seconds))


def test_they_need_no_token(keyed: Keyed) -> None:
    image_id = picture_of(keyed, keyed.alice)
    urls = signed(keyed.alice, image_id, seconds=600)
    for name, path in (("url", f"/api/image/{image_id}"), ("thumbnail_url", f"/api/image/{image_id}/thumbnail")):
        opened = keyed.nobody.get(urls[name])
        assert (opened.status_code, opened.data) == (200, keyed.alice.get(path).data)
        assert keyed.nobody.get(path).status_code == 401
        cache = opened.headers["Cache-Control"]
        assert cache.startswith("private, max-age=")
        assert 590 <= int(cache.split("=")[1].split(",")[0]) <= 600
        assert opened.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Set-Cookie" not in opened.headers
    expires = int(parse_qs(urlsplit(urls["url"]).query)["expires"][0])
    assert abs(expires - signed_urls.time.time() - 600) < 60


def test_reading_methods_and_their_conditions_work(keyed: Keyed) -> None:
    url = signed(keyed.alice, picture_of(keyed, keyed.alice))["url"]
    whole = keyed.nobody.get(url)
    head = keyed.nobody.head(url)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", whole.headers["ETag"])
    part = keyed.nobody.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.data) == (206, b"PNG")
    assert keyed.nobody.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    saved = keyed.nobody.get(f"{url}&download=1")
    assert saved.headers["Content-Disposition"].startswith("attachment")


def test_an_expired_one_says_so(keyed: Keyed, monkeypatch: pytest.MonkeyPatch, problem: Problem) -> None:
    urls = signed(keyed.alice, picture_of(keyed, keyed.alice), seconds=5)
    later(monkeypatch, 6)
    for url in (urls["url"], urls["thumbnail_url"]):
        problem(keyed.nobody.get(url), 403, "url_expired")
        problem(keyed.alice.get(url), 403, "url_expired")  # a signature decides alone
        problem(keyed.nobody.get(url.replace("signature=", "signature=A")), 403, "invalid_signature")


def test_a_deleted_picture_is_gone(keyed: Keyed, problem: Problem) -> None:
    image_id = picture_of(keyed, keyed.alice)
    url = signed(keyed.alice, image_id)["url"]
    assert keyed.alice.delete(f"/api/image/{image_id}").status_code == 204
    problem(keyed.nobody.get(url), 410, "gone")
    problem(keyed.alice.post(f"/api/image/{image_id}/signed-url", json={}), 410, "gone")


def test_only_the_owner_and_administrators_sign(keyed: Keyed, problem: Problem) -> None:
    image_id = picture_of(keyed, keyed.alice)
    path = f"/api/image/{image_id}/signed-url"
    problem(keyed.bob.post(path, json={}), 404, "image_not_found")
    problem(keyed.nobody.post(path, json={}), 401, "unauthorized")
    assert keyed.root.post(path, json={}).status_code == 200


def test_a_signature_fits_one_file_only(keyed: Keyed, problem: Problem) -> None:
    mine, other = picture_of(keyed, keyed.alice), picture_of(keyed, keyed.bob)
    urls = signed(keyed.alice, mine)
    query, small = urlsplit(urls["url"]).query, urlsplit(urls["thumbnail_url"]).query
    for path in (
        f"/api/image/{other}?{query}",
        f"/api/image/{mine}/thumbnail?{query}",
        f"/api/image/{mine}?{small}",
        f"/api/image/{other}/thumbnail?{small}",
        f"/api/image/{'0' * 32}?{query}",
        f"/api/image/{mine.upper()}?{query}",
        f"/api/image/{mine}/../{other}?{query}",
        f"/api/image/{mine}%2f..%2f{other}?{query}",
        f"/api/image/{mine}%00?{query}",
    ):
        answer = keyed.nobody.get(path)
        assert answer.status_code in (401, 403, 404), path
        assert answer.mimetype in ("application/problem+json", "text/html"), path
    problem(keyed.nobody.get(f"/api/image/{other}?{query}"), 403, "invalid_signature")


@pytest.mark.parametrize(
    "change",
    [
        lambda query: query + "&" + query,
        lambda query: query + "&expires=1",
        lambda query: "expires=1&" + query,
        lambda query: query + "&signature=" + "A" * 43,
        lambda query: query.replace("expires=", "expires=9"),
        lambda query: query.replace("expires=", "expires=%20"),
        lambda query: query.replace("expires", "Expires"),
        lambda query: query.split("&")[1],
        lambda query: "signature=&expires=",
        lambda query: query + "=",
        lambda query: query + "%00",
        lambda query: query.replace("signature=", "signature=%C3%BC"),
        lambda query: "expires=9999999999&signature=" + "A" * 43,
        lambda query: "expires[]=1&signature[]=1&signature=",
    ],
)
def test_no_other_query_is_valid(keyed: Keyed, change: Callable[[str], str]) -> None:
    url = urlsplit(signed(keyed.alice, picture_of(keyed, keyed.alice))["url"])
    answer = keyed.nobody.get(f"{url.path}?{change(url.query)}")
    assert answer.status_code in (400, 403), answer.text
    assert answer.json["code"] in ("invalid_signature", "invalid_request")


def test_a_signature_opens_no_other_route_and_changes_nothing(keyed: Keyed) -> None:
    """Every route by every method, with the query of a valid URL of the id in its path; pictures' in every spelling."""
    urls = keyed.context.signed_urls.signing()(SOMEBODY)
    public = {
        rule.endpoint
        for rule in keyed.app.url_map.iter_rules()
        for method in rule.methods or ()
        if (method, canonical(rule.rule)) in PUBLIC
    }
    walk = Walk(keyed)
    ran = set()
    for request in requests(keyed.app):
        if request.path != plain(request.rule) and not request.rule.rule.startswith("/api/image/"):
            continue
        for name in ("url", "thumbnail_url"):
            walk.ran.clear()
            request.send(keyed.nobody, urlsplit(getattr(urls, name)).query)
            ran |= {(name, request.method, view) for view in walk.ran if view not in public}
    assert ran == {
        ("url", "GET", "images.image"),
        ("url", "HEAD", "images.image"),
        ("thumbnail_url", "GET", "images.image_thumbnail"),
        ("thumbnail_url", "HEAD", "images.image_thumbnail"),
    }


def test_all_can_be_revoked_at_once(keyed: Keyed, problem: Problem) -> None:
    image_id = picture_of(keyed, keyed.alice)
    url = signed(keyed.alice, image_id)["url"]
    assert keyed.nobody.get(url).status_code == 200
    keyed.context.signed_urls.revoke_all()
    problem(keyed.nobody.get(url), 403, "invalid_signature")
    fresh = signed(keyed.alice, image_id)["url"]
    assert keyed.nobody.get(fresh).status_code == 200


def test_no_longer_than_the_setting_says(make_keyed: Callable[..., Keyed], problem: Problem) -> None:
    keyed = make_keyed(signed_url_seconds=60)
    path = f"/api/image/{picture_of(keyed, keyed.alice)}/signed-url"
    refused = problem(keyed.alice.post(path, json={"seconds": 61}), 400, "invalid_request")
    assert refused["errors"][0]["field"] == "seconds"
    for seconds in (0, -1, 1.5, "x", 10**30):
        problem(keyed.alice.post(path, json={"seconds": seconds}), 400, "invalid_request")
    assert keyed.alice.post(path, json={"seconds": 60}).status_code == 200


def test_switched_off_none_is_signed_and_none_is_valid(make_keyed: Callable[..., Keyed], problem: Problem) -> None:
    on = make_keyed()
    image_id = picture_of(on, on.alice)
    url = signed(on.alice, image_id)["url"]
    off = make_keyed(signed_url_seconds=0)
    problem(off.nobody.get(url), 403, "invalid_signature")
    problem(off.root.post(f"/api/image/{image_id}/signed-url", json={}), 403, "forbidden")
    problem(off.root.get(f"/api/images/{image_id}?signed=1"), 403, "forbidden")
    message = json.loads(off.context.signed_urls.webhook_message(completed(off, image_id)))
    assert message["data"]["images"][0]["signed"] is None


def test_bodies_have_them_where_they_are_asked_for(keyed: Keyed) -> None:
    image_id = picture_of(keyed, keyed.alice)
    job_id = keyed.context.outputs.get(image_id).job_id
    for path in (f"/api/status/{job_id}", f"/api/images/{job_id}", f"/api/images/{image_id}"):
        assert keyed.alice.get(path).json["images"][0]["signed"] is None
        (image,) = keyed.alice.get(f"{path}?signed=1").json["images"]
        assert keyed.nobody.get(image["signed"]["url"]).status_code == 200
        assert keyed.nobody.get(image["signed"]["thumbnail_url"]).status_code == 200
        assert keyed.bob.get(f"{path}?signed=1").status_code == 404
        assert keyed.nobody.get(f"{path}?signed=1").status_code == 401
    assert keyed.alice.get(f"/api/images/{image_id}?signed=1").json["output"]["signed"]["url"]


def test_the_receiver_of_a_webhook_needs_no_token(make_keyed: Callable[..., Keyed]) -> None:
    keyed = make_keyed(public_url="https://images.example/cyber")
    image_id = picture_of(keyed, keyed.alice)
    message = json.loads(keyed.context.signed_urls.webhook_message(completed(keyed, image_id)))
    (image,) = message["data"]["images"]
    assert image["url"] == f"/api/image/{image_id}"  # as it always was
    for name, path in (("url", ""), ("thumbnail_url", "/thumbnail")):
        url = urlsplit(image["signed"][name])
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"https://images.example/cyber/api/image/{image_id}{path}"
        below = url.path.removeprefix("/cyber")
        assert keyed.nobody.get(f"{below}?{url.query}").status_code == 200


def test_under_a_path_the_urls_have_it(make_keyed: Callable[..., Keyed]) -> None:
    keyed = make_keyed(trusted_proxies=1)
    image_id = picture_of(keyed, keyed.alice)
    there = {"X-Forwarded-Prefix": "/cyber", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = keyed.alice.post(f"/api/image/{image_id}/signed-url", json={}, headers=there)
    assert answer.json["url"].startswith(f"/cyber/api/image/{image_id}?")
    below = answer.json["url"].removeprefix("/cyber")
    assert keyed.nobody.get(below, headers=there).status_code == 200


def completed(keyed: Keyed, image_id: str) -> JobView:
    return view(keyed.context, keyed.context.outputs.get(image_id).job_id)
