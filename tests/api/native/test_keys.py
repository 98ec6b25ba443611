"""API keys over HTTP: what administrators can do with them, and what no one can."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.api.schemas.keys import CreatedKeyBody, KeyBody, KeysBody
from app.core.access import ApiKey, Role
from app.store.ops.api_keys import ApiKeyStore
from tests.api.native.keyed import Keyed


@pytest.fixture
def keyed(settings_in, tmp_path) -> Keyed:
    return Keyed(create_app(settings_in(tmp_path, auth_mode="keys")))


def create(client: FlaskClient, name: str = "carol", **fields: object) -> TestResponse:
    return client.post("/api/keys", json={"name": name, **fields})


def test_a_key_is_made_listed_used_and_revoked(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = create(keyed.root, " carol ", rate_limit_generate="5 per minute")
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    body = CreatedKeyBody.model_validate(made.json)
    assert (body.name, body.role, body.rate_limit_generate, body.rate_limit_read) == (
        "carol",
        "user",
        "5 per minute",
        None,
    )
    carol = keyed.client(body.token)
    assert carol.get("/api/session").json["name"] == "carol"
    listed = KeysBody.model_validate(keyed.root.get("/api/keys").json).keys
    assert [key.name for key in listed] == ["alice", "bob", "root", "carol"]
    assert "token" not in keyed.root.get("/api/keys").text
    assert listed[3].last_used_at is not None
    revoked = keyed.root.delete(f"/api/keys/{body.key_id}")
    assert KeyBody.model_validate(revoked.json).revoked_at is not None
    assert carol.get("/api/queue").status_code == 401
    assert keyed.root.delete(f"/api/keys/{body.key_id}").json == revoked.json
    notes = [record.getMessage() for record in caplog.records if record.name == "cyberimage.access"]
    assert [note for note in notes if "carol, user) was created by" in note]
    assert [note for note in notes if "carol, user) was revoked by" in note]
    assert body.token not in caplog.text


def test_an_administrators_key_may_make_keys(keyed: Keyed) -> None:
    dora = keyed.client(create(keyed.root, "dora", role="admin").json["token"])
    assert create(dora, "eve", role="user").json["role"] == "user"


def test_limits_hold_from_the_next_request_on(keyed: Keyed) -> None:
    key_id = keyed.ids["alice"].removeprefix("key:")
    assert keyed.alice.get("/api/queue").status_code == 200
    changed = keyed.root.put(f"/api/keys/{key_id}", json={"rate_limit_read": "1 per hour"})
    assert changed.json["rate_limit_read"] == "1 per hour"
    assert [keyed.alice.get("/api/queue").status_code for _ in range(2)] == [200, 429]
    keyed.root.put(f"/api/keys/{key_id}", json={})
    assert keyed.alice.get("/api/queue").status_code == 200


def test_users_can_do_none_of_it(keyed: Keyed) -> None:
    for client, status in ((keyed.alice, 403), (keyed.nobody, 401)):
        assert client.get("/api/keys").status_code == status
        assert create(client, role="admin").status_code == status
        assert client.put("/api/keys/1", json={}).status_code == status
        assert client.delete("/api/keys/1").status_code == status
    assert len(keyed.context.api_keys.all()) == 3


def test_an_administrator_cannot_lock_everyone_out(keyed: Keyed) -> None:
    own = keyed.root.delete(f"/api/keys/{keyed.ids['root'].removeprefix('key:')}")
    assert (own.status_code, own.json["code"]) == (409, "own_key")
    assert keyed.root.get("/api/keys").status_code == 200


def test_administrators_cannot_revoke_each_other_at_once(keyed: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the second request is revoked after it was accepted."""
    other = keyed.person("other", Role.ADMIN)
    root_id, other_id = (int(keyed.ids[name].removeprefix("key:")) for name in ("root", "other"))
    revoke = ApiKeyStore.revoke

    def revoke_root_first(store: ApiKeyStore, key_id: int, **options: int | None) -> ApiKey:
        revoke(store, root_id)
        return revoke(store, key_id, **options)

    monkeypatch.setattr(ApiKeyStore, "revoke", revoke_root_first)
    assert keyed.root.delete(f"/api/keys/{other_id}").status_code == 401
    assert other.get("/api/keys").status_code == 200


def test_without_keys_in_use_none_is_made(settings_in, tmp_path) -> None:
    """Every client is an administrator then; a key would outlast that."""
    app = create_app(settings_in(tmp_path))
    client = app.test_client()
    answers = [
        client.get("/api/keys"),
        create(client),
        client.put("/api/keys/1", json={}),
        client.delete("/api/keys/1"),
    ]
    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(409, "keys_not_used")}
    assert app.extensions["cyberimage"].context.api_keys.all() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "role": "root"}, "role"),
        ({"name": "x", "rate_limit_read": "often"}, "rate_limit_read"),
        ({"name": "x", "token": "ci_mine"}, "token"),
    ],
)
def test_what_is_wrong_is_named(keyed: Keyed, body: dict, field: str) -> None:
    answer = keyed.root.post("/api/keys", json=body)
    assert answer.status_code == 400
    assert field in {error["field"] for error in answer.json["errors"]}
    assert len(keyed.context.api_keys.all()) == 3


@pytest.mark.parametrize("key_id", ["0", "99", "x", "-1", str(2**63), "1/2"])
def test_a_key_that_is_not_there(keyed: Keyed, key_id: str) -> None:
    assert keyed.root.delete(f"/api/keys/{key_id}").status_code in (400, 404)
    assert keyed.root.put(f"/api/keys/{key_id}", json={}).status_code in (400, 404)


def test_a_revoked_key_keeps_its_limits(keyed: Keyed) -> None:
    key_id = keyed.ids["alice"].removeprefix("key:")
    keyed.root.delete(f"/api/keys/{key_id}")
    assert keyed.root.put(f"/api/keys/{key_id}", json={}).json["code"] == "not_found"
