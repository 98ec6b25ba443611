"""AUTH_MODE=huggingface: a token is valid if the hub knows its user and grants it read permission.

The hub limits the rate of requests, so its answers are cached for AUTH_CACHE_SECONDS by the token's hash, in bounded
memory. While the hub is unreachable, answers up to a day old remain valid.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.config import Settings
from app.core.access import Identity, Role
from app.core.lru_cache import LRUCache
from app.errors import AuthUnavailable, CyberImageError, Forbidden, InvalidToken
from app.services.auth.authority import SignedIn, digest

WHOAMI = "/api/whoami-v2"
TIMEOUT_SECONDS = 10.0
CACHE_ENTRIES = 4096
STALE_SECONDS = 86_400.0  # how long a cached answer is used while the hub is unreachable
REFUSAL_SECONDS = 60.0  # how long a refusal is cached: the token may be given the permission meanwhile
PAUSE_SECONDS = 5.0  # pause after a failure: each request may block a thread for the whole timeout
READING = frozenset({"repo.content.read", "repo.write"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,89}")

log = logging.getLogger("cyberimage.access")


@dataclass(frozen=True)
class _CachedAnswer:
    """A cached answer of the hub for a token: an identity or the error to raise."""

    result: Identity | CyberImageError
    at: float

    def is_fresh(self, seconds: float) -> bool:
        life = seconds if isinstance(self.result, Identity) else min(seconds, REFUSAL_SECONDS)
        return time.monotonic() - self.at < life

    def unwrap(self) -> Identity:
        if isinstance(self.result, Identity):
            return self.result
        raise type(self.result)(self.result.detail)


class HuggingFaceAuthority:
    """Authority for hub tokens, one per process. Session tokens live in memory only: a restart ends all sessions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=settings.hf_endpoint.rstrip("/"), timeout=TIMEOUT_SECONDS)
        self._answers: LRUCache[str, _CachedAnswer] = LRUCache(CACHE_ENTRIES)
        self._tokens: LRUCache[str, str] = LRUCache(CACHE_ENTRIES)  # by hash; of signed-in users
        self._locks = [threading.Lock() for _ in range(32)]  # by hash: a page's parallel requests ask the hub once
        self._paused_until = 0.0

    def identify(self, token: str) -> Identity:
        hashed = digest(token)
        with self._locks[int(hashed[:8], 16) % len(self._locks)]:
            answer = self._answers.get(hashed)
            if answer is None or not answer.is_fresh(self._settings.auth_cache_seconds):
                answer = self._refresh(token, hashed, answer)
        return answer.unwrap()

    def sign_in(self, token: str) -> SignedIn:
        recognised = SignedIn(self.identify(token), digest(token))
        self._tokens.put(recognised.subject, token)
        return recognised

    def resume(self, subject: str) -> Identity:
        token = self._tokens.get(subject)
        if token is None:
            raise InvalidToken("The server was restarted, which ends sessions. Sign in again.")
        return self.identify(token)

    def is_still_valid(self, identity: Identity) -> bool:
        return True  # the hub may take seconds to answer

    def has_accepted(self, token: str) -> bool:
        answer = self._answers.get(digest(token))
        return answer is not None and isinstance(answer.result, Identity)

    def _refresh(self, token: str, hashed: str, before: _CachedAnswer | None) -> _CachedAnswer:
        try:
            answer = _CachedAnswer(self._request(token), time.monotonic())
        except AuthUnavailable:
            if before is None or not before.is_fresh(STALE_SECONDS):
                raise
            return before
        self._answers.put(hashed, answer)
        return answer

    def _request(self, token: str) -> Identity | CyberImageError:
        """The hub's answer: an identity, or the error that refuses the token. Raises AuthUnavailable."""
        if time.monotonic() < self._paused_until:
            raise _unavailable()
        try:
            response = self._client.get(WHOAMI, headers={"Authorization": f"Bearer {token}"})
            if response.status_code == 401:
                return InvalidToken("Hugging Face does not know this token.")
            body = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            log.warning("Could not check a token with the hub: %s", str(error)[:200])
            raise _unavailable() from None
        return identity_from(body, self._settings)


def _unavailable() -> AuthUnavailable:
    return AuthUnavailable("Hugging Face does not answer, so the token cannot be checked.", retry_after=PAUSE_SECONDS)


def identity_from(whoami: Any, settings: Settings) -> Identity | CyberImageError:
    """The identity in the hub's answer, or the error that refuses access."""
    name = whoami.get("name") if isinstance(whoami, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return Forbidden("Hugging Face returned no valid user name for this token. Use a token of a user account.")
    if not may_read(whoami):
        return Forbidden("This token may not read repositories. Give it read permission, or use another token.")
    groups = {name.lower(), *_organisations(whoami)}
    if settings.auth_user_names and not groups & (settings.auth_user_names | settings.auth_admin_names):
        return Forbidden(f"{name} is not among the users of this server.")
    role = Role.ADMIN if name.lower() in settings.auth_admin_names else Role.USER
    return Identity(f"hf:{name.lower()}", role, name)


def may_read(whoami: Mapping[str, Any]) -> bool:
    """By the token's role; for a fine-grained token, by any permission to read repositories."""
    token = _mapping(_mapping(whoami.get("auth")).get("accessToken"))
    if token.get("role") != "fineGrained":
        return token.get("role") in ("read", "write")
    details = _mapping(token.get("fineGrained"))
    scoped = [_list(_mapping(scope).get("permissions")) for scope in _list(details.get("scoped"))]
    granted = {str(one) for several in (_list(details.get("global")), *scoped) for one in several}
    return details.get("canReadGatedRepos") is True or bool(granted & READING)


def _organisations(whoami: Mapping[str, Any]) -> set[str]:
    return {str(_mapping(one).get("name", "")).lower() for one in _list(whoami.get("orgs"))}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
