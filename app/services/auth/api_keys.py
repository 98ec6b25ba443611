"""API keys: created by command, stored as a hash, checked against the database with every request."""

from __future__ import annotations

import contextlib
import secrets
import time

from app.core.access import ApiKey, Identity, Role
from app.core.lru_cache import LRUCache
from app.errors import DatabaseUnavailable, InvalidToken, KeysNotUsed, OwnKey
from app.services.auth.authority import SignedIn, digest
from app.services.context import AppContext
from app.store.ops.api_keys import USED_RESOLUTION_SECONDS

PREFIX = "ci_"  # recognisable to people and to scanners for leaked secrets
TOKEN_BYTES = 32
CACHE_ENTRIES = 4096


def create_key(
    context: AppContext,
    name: str,
    role: Role,
    *,
    rate_limit_generate: str | None = None,
    rate_limit_read: str | None = None,
) -> tuple[ApiKey, str]:
    """Create a key. Returns it with its token, which is stored nowhere."""
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    key = context.api_keys.create(
        name, digest(token), role, rate_limit_generate=rate_limit_generate, rate_limit_read=rate_limit_read
    )
    return key, token


def list_keys(context: AppContext) -> list[ApiKey]:
    """All keys, oldest first, revoked ones too. This and the next three raise KeysNotUsed."""
    _check_used(context)
    return context.api_keys.all()


def add_key(context: AppContext, name: str, role: Role, generate: str | None, read: str | None) -> tuple[ApiKey, str]:
    """`create_key` for an administrator who is signed in with a key. `generate` and `read` are rate limits."""
    _check_used(context)
    return create_key(context, name, role, rate_limit_generate=generate, rate_limit_read=read)


def set_limits(context: AppContext, key_id: int, generate: str | None, read: str | None) -> ApiKey:
    """Raises KeyNotFound, also for a revoked key."""
    _check_used(context)
    return context.api_keys.set_limits(key_id, rate_limit_generate=generate, rate_limit_read=read)


def revoke_key(context: AppContext, key_id: int, *, by: Identity) -> ApiKey:
    """Raises KeyNotFound, OwnKey for the key of `by`, and InvalidToken when that was revoked meanwhile: so an
    administrator is always left."""
    _check_used(context)
    own_id = _key_id(by)
    if own_id == key_id:
        raise OwnKey(
            "This request is made with this key. Revoke it with another administrator's, or by `cyberimage keys`."
        )
    return context.api_keys.revoke(key_id, by=own_id)


def _check_used(context: AppContext) -> None:
    """With AUTH_MODE=none every client is an administrator: a key that one of them made would stay valid when keys are
    asked for one day."""
    if context.settings.auth_mode != "keys":
        raise KeysNotUsed("Set AUTH_MODE=keys, and make the first key by `cyberimage keys create NAME --admin`.")


def _key_id(identity: Identity) -> int:
    return int(identity.client_id.partition(":")[2])


class ApiKeyAuthority:
    """AUTH_MODE=keys. A revoked key is refused from the next request on."""

    def __init__(self, context: AppContext) -> None:
        self._keys = context.api_keys
        self._accepted: LRUCache[str, bool] = LRUCache(CACHE_ENTRIES)

    def identify(self, token: str) -> Identity:
        return self._use(self._key_of(token))

    def sign_in(self, token: str) -> SignedIn:
        key = self._key_of(token)
        return SignedIn(self._use(key), str(key.id))

    def resume(self, subject: str) -> Identity:
        key = self._keys.by_id(int(subject))
        if key is None:
            raise InvalidToken("The key of this session was revoked. Sign in with another.")
        return self._use(key)

    def is_still_valid(self, identity: Identity) -> bool:
        return self._keys.by_id(_key_id(identity)) is not None

    def has_accepted(self, token: str) -> bool:
        return self._accepted.get(digest(token)) is not None

    def _key_of(self, token: str) -> ApiKey:
        hashed = digest(token)
        key = self._keys.by_hash(hashed) if token.startswith(PREFIX) else None
        if key is None:
            self._accepted.remove(hashed)
            raise InvalidToken("This key is unknown or was revoked.")
        self._accepted.put(hashed, True)
        return key

    def _use(self, key: ApiKey) -> Identity:
        if key.last_used_at is None or time.time() - key.last_used_at > USED_RESOLUTION_SECONDS:
            with contextlib.suppress(DatabaseUnavailable):  # a full disk must not block reads
                self._keys.used(key)
        return key.identity
