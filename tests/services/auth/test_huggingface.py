"""AUTH_MODE=huggingface: the hub identifies users; its answers are cached, tokens are not stored."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from app.config import load_settings
from app.core.access import Role
from app.errors import AuthUnavailable, Forbidden, InvalidToken
from app.services.auth import huggingface
from app.services.auth.huggingface import HuggingFaceAuthority
from tests.services.auth.whoami_server import WhoamiServer, user
from tests.waiting import PATIENCE

READS = [{"entity": {"type": "user", "name": "x"}, "permissions": ["repo.content.read"]}]
POSTS = [{"entity": {"type": "user", "name": "x"}, "permissions": ["discussion.write"]}]


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with WhoamiServer({"hf_alice": user("Alice"), "hf_bob": user("bob", "write", orgs=("painters",))}) as server:
        yield server


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]` is what time.monotonic returns in the module."""
    now = [1000.0]
    monkeypatch.setattr(huggingface.time, "monotonic", lambda: now[0])
    return now


def users(hub, **settings) -> HuggingFaceAuthority:
    return HuggingFaceAuthority(load_settings({}, None, hf_endpoint=hub.url, **settings))


def test_the_stand_in_is_a_hub_to_the_real_client(hub):
    api = HfApi(endpoint=hub.url)
    found = api.whoami("hf_bob")
    assert (found["name"], found["auth"]["accessToken"]["role"]) == ("bob", "write")
    with pytest.raises(HfHubHTTPError) as refused:
        api.whoami("hf_nobody")
    assert refused.value.response.status_code == 401


def test_identity_and_role(hub):
    found = users(hub, auth_admins="Bob, carol")
    alice, bob = found.identify("hf_alice"), found.identify("hf_bob")
    assert (alice.client_id, alice.name, alice.role) == ("hf:alice", "Alice", Role.USER)
    assert bob.role is Role.ADMIN
    with pytest.raises(InvalidToken, match="does not know"):
        found.identify("hf_nobody")


@pytest.mark.parametrize(
    ("token", "may"),
    [
        (user("x", "read"), True),
        (user("x", "write"), True),
        (user("x", "fineGrained", scoped=READS), True),
        (user("x", "fineGrained", canReadGatedRepos=True), True),
        (user("x", "fineGrained", **{"global": ["repo.write"]}), True),
        (user("x", "fineGrained", scoped=POSTS), False),
        (user("x", "fineGrained"), False),
        (user("x", "fineGrained", scoped=["nonsense", {"permissions": None}], **{"global": None}), False),
        (user("x", "something new"), False),
        ({"name": "x"}, False),
        ({"name": "x", "auth": []}, False),
        ({"name": 5}, False),
        ({"name": "../x"}, False),
        ({"name": "x" * 200}, False),
        ([], False),
        (None, False),
    ],
)
def test_the_token_must_be_allowed_to_read(hub, token, may):
    hub.users["hf_x"] = token
    if may:
        assert users(hub).identify("hf_x").name == "x"
    else:
        with pytest.raises(Forbidden):
            users(hub).identify("hf_x")


@pytest.mark.parametrize(
    ("allowed", "alice", "bob"), [("alice", True, False), ("Painters", False, True), ("", True, True)]
)
def test_only_some_may_come_in(hub, allowed, alice, bob):
    found = users(hub, auth_users=allowed)
    for token, may in (("hf_alice", alice), ("hf_bob", bob)):
        if may:
            found.identify(token)
        else:
            with pytest.raises(Forbidden, match="not among"):
                found.identify(token)


def test_an_admin_need_not_stand_among_the_users_too(hub):
    assert users(hub, auth_users="somebody", auth_admins="alice").identify("hf_alice").is_admin


def test_the_hub_is_asked_once_in_a_while(hub, clock):
    found = users(hub, auth_cache_seconds=600)
    for _ in range(5):
        found.identify("hf_alice")
    assert hub.asked == 1
    clock[0] += 599
    found.identify("hf_alice")
    assert hub.asked == 1
    clock[0] += 2
    del hub.users["hf_alice"]  # the token was deleted meanwhile
    with pytest.raises(InvalidToken):
        found.identify("hf_alice")
    assert hub.asked == 2


def test_a_refusal_is_believed_for_a_minute(hub, clock):
    found = users(hub)
    for _ in range(3):
        with pytest.raises(InvalidToken):
            found.identify("hf_new")
    assert hub.asked == 1
    hub.users["hf_new"] = user("new")
    clock[0] += 61
    assert found.identify("hf_new").name == "new"


@pytest.mark.parametrize("trouble", ["closed", 500, 429, 302])
def test_with_the_hub_away_its_last_word_holds_for_a_day(hub, clock, trouble):
    found = users(hub)
    found.identify("hf_alice")
    if trouble == "closed":
        hub.close()
    else:
        hub.answer_with = trouble
    clock[0] += 3600
    assert found.identify("hf_alice").name == "Alice"
    with pytest.raises(AuthUnavailable) as refused:
        found.identify("hf_bob")
    assert (refused.value.status, refused.value.code) == (503, "auth_unavailable")
    assert refused.value.retry_after
    clock[0] += 86_400
    with pytest.raises(AuthUnavailable):
        found.identify("hf_alice")


def test_nonsense_from_the_hub_is_no_permission(hub):
    hub.users["hf_x"] = b"<html>"
    with pytest.raises(AuthUnavailable):
        users(hub).identify("hf_x")


def test_a_hub_in_trouble_is_left_alone_for_a_moment(hub, clock):
    found = users(hub)
    hub.answer_with = 503
    for number in range(5):
        with pytest.raises(AuthUnavailable):
            found.identify(f"hf_{number}")
    assert hub.asked == 1
    hub.answer_with = None
    clock[0] += 6
    assert found.identify("hf_alice").name == "Alice"


def test_a_page_full_of_requests_asks_once(hub):
    found = users(hub)
    ready = threading.Barrier(8)

    def ask(_number: int) -> str:
        ready.wait(PATIENCE)
        return found.identify("hf_alice").name

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"Alice"}
    assert hub.asked == 1


def test_memory_is_bounded(hub, monkeypatch):
    monkeypatch.setattr(huggingface, "CACHE_ENTRIES", 10)
    found = users(hub)
    found.identify("hf_alice")
    for number in range(30):
        with pytest.raises(InvalidToken):
            found.identify(f"hf_{number}")
    assert len(found._answers) == 10
    assert not found.has_accepted("hf_alice")
    assert found.identify("hf_alice").name == "Alice"
    assert found.has_accepted("hf_alice")


def test_a_session_is_valid_until_the_hub_refuses_its_token(hub, clock):
    found = users(hub)
    recognised = found.sign_in("hf_alice")
    assert "hf_alice" not in recognised.subject
    assert found.resume(recognised.subject).name == "Alice"
    clock[0] += 601
    del hub.users["hf_alice"]
    with pytest.raises(InvalidToken):
        found.resume(recognised.subject)
    with pytest.raises(InvalidToken, match="restarted"):
        users(hub).resume(recognised.subject)


def test_only_tokens_of_signed_in_users_are_stored(hub):
    found = users(hub)
    token = "".join(["hf_", "al", "ice"])  # not a literal of this test's code
    found.identify(token)
    gc.collect()
    assert len(found._tokens) == 0
    found.sign_in("hf_bob")
    assert len(found._tokens) == 1
