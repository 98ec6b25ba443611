"""AUTH_MODE=huggingface: a token is good when the hub says whose it is, and that it may read.

The hub limits how often it answers, so its word is believed for AUTH_CACHE_SECONDS, kept under the token's hash and in
bounded memory. While the hub is away what it said within a day still holds.
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
from app.errors import AuthUnavailable, CyberImageError, Forbidden, InvalidToken
from app.services.auth.authority import Recognised, digest
from app.services.auth.lru import Remembered

WHOAMI = "/api/whoami-v2"
TIMEOUT_SECONDS = 10.0
MOST_REMEMBERED = 4096
STALE_SECONDS = 86_400.0  # how long the hub's word holds while it is away
REFUSAL_SECONDS = 60.0  # how long a refusal is believed: a token may be given its permission meanwhile
REST_SECONDS = 5.0  # after a failure the hub is left alone: each try may hold a thread for as long as the timeout
READING = frozenset({"repo.content.read", "repo.write"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,89}")

log = logging.getLogger("cyberimage.access")


@dataclass(frozen=True)
class _Word:
    """What the hub said of a token, and when."""

    said: Identity | CyberImageError
    at: float

    def is_fresh(self, seconds: float) -> bool:
        life = seconds if isinstance(self.said, Identity) else min(seconds, REFUSAL_SECONDS)
        return time.monotonic() - self.at < life

    def tell(self) -> Identity:
        if isinstance(self.said, Identity):
            return self.said
        raise type(self.said)(self.said.detail)


class HubUsers:
    """One per process: the tokens of sessions are in its memory only, so after a restart people sign in again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=settings.hf_endpoint.rstrip("/"), timeout=TIMEOUT_SECONDS)
        self._words: Remembered[_Word] = Remembered(MOST_REMEMBERED)
        self._tokens: Remembered[str] = Remembered(MOST_REMEMBERED)  # by hash; of those who signed in
        self._asking = [threading.Lock() for _ in range(32)]  # by hash: a page's ten requests ask the hub once
        self._rests_until = 0.0

    def identify(self, token: str) -> Identity:
        hashed = digest(token)
        with self._asking[int(hashed[:8], 16) % len(self._asking)]:
            word = self._words.get(hashed)
            if word is None or not word.is_fresh(self._settings.auth_cache_seconds):
                word = self._ask_again(token, hashed, word)
        return word.tell()

    def sign_in(self, token: str) -> Recognised:
        recognised = Recognised(self.identify(token), digest(token))
        self._tokens.put(recognised.subject, token)
        return recognised

    def recall(self, subject: str) -> Identity:
        token = self._tokens.get(subject)
        if token is None:
            raise InvalidToken("The server was restarted. Sign in again.")
        return self.identify(token)

    def endures(self, identity: Identity) -> bool:
        return True  # the hub may take seconds to answer

    def knows(self, token: str) -> bool:
        word = self._words.get(digest(token))
        return word is not None and isinstance(word.said, Identity)

    def _ask_again(self, token: str, hashed: str, before: _Word | None) -> _Word:
        try:
            word = _Word(self._ask(token), time.monotonic())
        except AuthUnavailable:
            if before is None or not before.is_fresh(STALE_SECONDS):
                raise
            return before
        self._words.put(hashed, word)
        return word

    def _ask(self, token: str) -> Identity | CyberImageError:
        """What the hub says: whose it is, or why it is refused. Raises AuthUnavailable."""
        if time.monotonic() < self._rests_until:
            raise _away()
        try:
            response = self._client.get(WHOAMI, headers={"Authorization": f"Bearer {token}"})
            if response.status_code == 401:
                return InvalidToken("Hugging Face does not know this token.")
            body = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            log.warning("The hub cannot say whose a token is: %s", str(error)[:200])
            raise _away() from None
        return judge(body, self._settings)


def _away() -> AuthUnavailable:
    return AuthUnavailable("Hugging Face does not answer, so the token cannot be checked.", retry_after=REST_SECONDS)


def judge(whoami: Any, settings: Settings) -> Identity | CyberImageError:
    """Who the hub's answer is about, or why they may not come in."""
    name = whoami.get("name") if isinstance(whoami, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return Forbidden("This token belongs to nobody that Hugging Face has a name for.")
    if not may_read(whoami):
        return Forbidden("This token may not read repositories. Give it the permission to read, or use another.")
    groups = {name.lower(), *_organisations(whoami)}
    if settings.auth_user_names and not groups & (settings.auth_user_names | settings.auth_admin_names):
        return Forbidden(f"{name} is not among the users of this server.")
    role = Role.ADMIN if name.lower() in settings.auth_admin_names else Role.USER
    return Identity(f"hf:{name.lower()}", role, name)


def may_read(whoami: Mapping[str, Any]) -> bool:
    """By the role of the token; a fine-grained one by any permission to read repositories."""
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
