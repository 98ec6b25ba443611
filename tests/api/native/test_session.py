"""Signing in on the page, and what browsers of people who visit other pages must not be made to do."""

from __future__ import annotations

import time

import pytest

from app import create_app
from app.api.security.authorization import COOKIE
from app.store.ops.api_keys import ApiKeyStore
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed, submit

OURS = {"Origin": "http://localhost"}
THEIRS = {"Origin": "https://evil.example"}


@pytest.fixture
def keyed_with(settings_in, tmp_path):
    made = []

    def make(**settings) -> Keyed:
        made.append(create_app(settings_in(tmp_path, auth_mode="keys", **settings)))
        return Keyed(made[-1])

    yield make
    for app in made:
        app.extensions["cyberimage"].close()


@pytest.fixture
def keyed(keyed_with) -> Keyed:
    return keyed_with()


@pytest.fixture
def browser(keyed):
    """Keeps cookies; signed in as alice."""
    client = keyed.app.test_client()
    answer = client.post("/api/session", json={"token": keyed.tokens["alice"]}, headers=OURS)
    assert answer.status_code == 200, answer.text
    return client


def test_a_token_becomes_a_cookie_that_scripts_cannot_read(keyed):
    client = keyed.app.test_client()
    assert client.get("/api/session").json == {"mode": "keys", "signed_in": False, "name": None, "role": None}
    answer = client.post("/api/session", json={"token": keyed.tokens["alice"]}, headers=OURS)
    assert answer.json == {"mode": "keys", "signed_in": True, "name": "alice", "role": "user"}
    cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={168 * 3600}"):
        assert part in cookie
    assert "Secure" not in cookie
    assert keyed.tokens["alice"] not in cookie
    assert client.get("/api/session").json["name"] == "alice"
    assert client.get("/api/images").status_code == 200


def test_behind_https_the_cookie_is_for_https_only(keyed_with):
    keyed = keyed_with(trusted_proxies=1)
    forwarded = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = keyed.nobody.post("/api/session", json={"token": keyed.tokens["bob"]}, headers=forwarded)
    assert "; Secure" in answer.headers["Set-Cookie"]


def test_the_cookie_opens_pictures_and_streams(keyed, browser):
    job_id = submit(keyed.alice)
    (image_id,) = Worker(keyed.context).finish()
    assert browser.get(f"/api/image/{image_id}/thumbnail").status_code == 200
    assert browser.get(f"/api/jobs/{job_id}/events").status_code == 200
    other = submit(keyed.bob)
    assert browser.get(f"/api/jobs/{other}/events").status_code == 404


def test_signing_out(browser, problem):
    answer = browser.delete("/api/session", headers=OURS)
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert browser.get("/api/session").json["signed_in"] is False
    problem(browser.get("/api/images"), 401, "unauthorized")


def test_a_wrong_token_signs_nobody_in(keyed, problem):
    client = keyed.app.test_client()
    problem(client.post("/api/session", json={"token": "ci_wrong"}, headers=OURS), 401, "unauthorized")
    for body in ({"token": ""}, {"token": 5}, {}, {"token": "x", "more": 1}, {"token": "é"}, {"token": "x" * 1000}):
        problem(client.post("/api/session", json=body, headers=OURS), 400, "invalid_request")
    assert client.get("/api/session").json["signed_in"] is False


def test_a_revoked_key_ends_its_sessions(keyed, browser, problem):
    ApiKeyStore(keyed.context.database).revoke(1)
    problem(browser.get("/api/images"), 401, "unauthorized")
    assert browser.get("/api/session").json["signed_in"] is False
    assert browser.get("/").status_code == 200  # the page itself comes, and asks


def test_a_session_ends_by_itself(keyed, browser, monkeypatch, problem):
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 167 * 3600)
    assert browser.get("/api/images").status_code == 200
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 169 * 3600)
    problem(browser.get("/api/images"), 401, "unauthorized")


@pytest.mark.parametrize("change", ["swap", "x", "", "a.b.c", "é"])
def test_a_forged_cookie_is_worth_nothing(keyed, browser, problem, change):
    cookie = browser.get_cookie(COOKIE).value
    forged = ("A" if cookie[0] != "A" else "B") + cookie[1:] if change == "swap" else change
    browser.set_cookie(COOKIE, forged)
    problem(browser.get("/api/images"), 401, "unauthorized")


def test_a_session_is_good_for_all_processes_and_after_a_restart(keyed, keyed_with, browser):
    other = keyed_with().app.test_client()
    other.set_cookie(COOKIE, browser.get_cookie(COOKIE).value)
    assert other.get("/api/session").json["name"] == "alice"


def test_a_cookie_says_nothing_in_another_mode(keyed, settings_in, tmp_path, problem):
    """Both are signed by the same installation, and what one calls 1 may be somebody to the other."""
    hub = create_app(settings_in(tmp_path, auth_mode="huggingface"))
    with hub.app_context():
        cookie = hub.extensions["cyberimage-access-control"].sessions.begin("1")
    client = keyed.app.test_client()
    client.set_cookie(COOKIE, cookie)
    problem(client.get("/api/images"), 401, "unauthorized")
    hub.extensions["cyberimage"].close()


def test_a_cookie_of_keys_is_no_good_to_the_hub(keyed, browser, settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="huggingface"))
    client = app.test_client()
    client.set_cookie(COOKIE, browser.get_cookie(COOKIE).value)
    assert client.get("/api/images").status_code == 401
    app.extensions["cyberimage"].close()


# --- requests that other pages forge


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OURS, 202),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"}, 202),  # the browser's own word
        ({}, 403),  # no browser leaves out both
        (THEIRS, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", **OURS}, 403),  # another port of this machine
        ({"Sec-Fetch-Site": "none"}, 403),
    ],
)
def test_what_changes_something_must_come_from_our_own_page(browser, headers, status):
    answer = browser.post("/api/generate", json={"prompt": "x"}, headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 202 or answer.json["code"] == "forbidden"


def test_reading_is_guarded_by_the_browser(browser):
    assert browser.get("/api/images", headers=THEIRS).status_code == 200
    assert "Access-Control-Allow-Origin" not in browser.get("/api/images", headers=THEIRS).headers


def test_a_socket_is_no_reading(browser, client):
    headers = {**THEIRS, "Upgrade": "websocket", "Connection": "Upgrade"}
    for path in ("/stream/generate/txt2img", "/api/v1/stream/generate/txt2img"):
        answer = browser.get(path, headers=headers)
        assert (answer.status_code, answer.get_json(force=True)["code"]) == (403, "forbidden")
        assert client.get(path, headers=headers).status_code == 403  # without authentication too


def test_a_token_needs_no_origin(keyed):
    for headers in ({}, THEIRS):
        assert keyed.alice.post("/api/generate", json={"prompt": "x"}, headers=headers).status_code == 202


def test_nobody_is_signed_in_from_elsewhere(keyed, problem):
    answer = keyed.nobody.post("/api/session", json={"token": keyed.tokens["bob"]}, headers=THEIRS)
    problem(answer, 403, "forbidden")


def test_other_origins_that_are_allowed_need_a_token_all_the_same(keyed_with):
    keyed = keyed_with(cors_origins="https://friend.example")
    friend = {"Origin": "https://friend.example"}
    ahead = keyed.nobody.options(
        "/api/generate",
        headers={
            **friend,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert ahead.status_code == 200
    assert ahead.headers["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "authorization" in ahead.headers["Access-Control-Allow-Headers"].lower()
    refused = keyed.nobody.post("/api/generate", json={"prompt": "x"}, headers=friend)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://friend.example"
    assert "Access-Control-Allow-Credentials" not in refused.headers
    assert keyed.alice.post("/api/generate", json={"prompt": "x"}, headers=friend).status_code == 202
    signed_in = keyed.app.test_client()
    signed_in.post("/api/session", json={"token": keyed.tokens["alice"]}, headers=OURS)
    assert signed_in.post("/api/generate", json={"prompt": "x"}, headers=friend).status_code == 403


def test_without_authentication_other_pages_still_change_nothing(client, problem):
    problem(client.post("/cleanup", headers=THEIRS), 403, "forbidden")
    problem(client.post("/cleanup", headers={"Sec-Fetch-Site": "cross-site"}), 403, "forbidden")
    assert 'cyberimage_auth_failures_total{reason="origin"} 2.0' in client.get("/metrics").text
    assert client.post("/cleanup").status_code == 200
    assert client.post("/cleanup", headers=OURS).status_code == 200


@pytest.mark.parametrize(("allowed", "status"), [("https://friend.example", 403), ("*", 200), (THEIRS["Origin"], 200)])
def test_without_authentication_the_allowed_origins_may(settings_in, tmp_path, allowed, status):
    app = create_app(settings_in(tmp_path, cors_origins=allowed))
    assert app.test_client().post("/cleanup", headers=THEIRS).status_code == status
    app.extensions["cyberimage"].close()
