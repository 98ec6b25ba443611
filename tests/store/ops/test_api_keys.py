"""API keys in the database: found by hash, invalid once revoked, last use stored at a coarse resolution."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.core.access import Role
from app.errors import InvalidToken, KeyNotFound
from app.store.db.database import Database
from app.store.db.schema import api_keys
from app.store.ops.api_keys import ApiKeyStore


@pytest.fixture
def keys(database: Database) -> ApiKeyStore:
    return ApiKeyStore(database)


def test_a_key_is_found_by_its_hash_until_it_is_revoked(keys: ApiKeyStore) -> None:
    made = keys.create("alice", "a" * 64, Role.USER, rate_limit_generate="5 per hour")
    other = keys.create("bob", "b" * 64, Role.ADMIN)
    assert keys.by_hash("a" * 64) == keys.by_id(made.id) == made
    assert made.identity.client_id == f"key:{made.id}"
    assert (made.identity.rate_limit_generate, other.identity.is_admin) == ("5 per hour", True)
    assert keys.by_hash("c" * 64) is None
    revoked = keys.revoke(made.id)
    assert revoked.revoked_at is not None
    assert keys.by_hash("a" * 64) is keys.by_id(made.id) is None
    assert keys.revoke(made.id) == revoked
    assert [key.name for key in keys.all()] == ["alice", "bob"]
    assert keys.by_hash("b" * 64) == other


def test_revoking_what_is_not_there(keys: ApiKeyStore) -> None:
    with pytest.raises(KeyNotFound, match="no key 77"):
        keys.revoke(77)


def test_two_keys_never_share_a_token(keys: ApiKeyStore) -> None:
    keys.create("one", "a" * 64, Role.USER)
    with pytest.raises(IntegrityError):
        keys.create("two", "a" * 64, Role.USER)


def test_when_it_was_used_is_noted_now_and_then(keys: ApiKeyStore, database: Database) -> None:
    key = keys.create("alice", "a" * 64, Role.USER)
    assert key.last_used_at is None
    keys.used(key)
    (noted,) = keys.all()
    assert noted.last_used_at == pytest.approx(key.created_at, abs=60)
    keys.used(noted)
    assert keys.all() == [noted]
    with database.write() as connection:
        connection.execute(update(api_keys).values(last_used_at=noted.last_used_at - 700))
    keys.used(noted)
    assert keys.all()[0].last_used_at == pytest.approx(key.created_at, abs=60)


def test_an_id_is_never_given_twice(keys: ApiKeyStore, database: Database) -> None:
    first = keys.create("alice", "a" * 64, Role.USER)
    with database.write() as connection:
        connection.execute(api_keys.delete())
    assert keys.create("bob", "b" * 64, Role.USER).id > first.id


def test_a_revoked_key_revokes_none(keys: ApiKeyStore) -> None:
    one, other = (keys.create(name, name * 64, Role.ADMIN) for name in "ab")
    keys.revoke(one.id, by=other.id)
    with pytest.raises(InvalidToken, match="was revoked"):
        keys.revoke(other.id, by=one.id)
    assert keys.by_id(other.id) == other
    with pytest.raises(KeyNotFound, match="no key 77"):
        keys.revoke(77, by=other.id)


def test_two_keys_cannot_revoke_each_other_at_once(keys: ApiKeyStore) -> None:
    def revoke(key_id: int, by: int) -> bool:
        barrier.wait()
        try:
            keys.revoke(key_id, by=by)
        except InvalidToken:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        for number in range(10):
            barrier = Barrier(2)
            one, other = (keys.create(name, f"{name}{number}", Role.ADMIN).id for name in "ab")
            done = list(threads.map(revoke, (one, other), (other, one)))
            assert sorted(done) == [False, True]
            assert [keys.by_id(key_id) is None for key_id in (one, other)].count(True) == 1
