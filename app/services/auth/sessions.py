"""Signed session cookies: the user and the time of signing in. They hold no token."""

from __future__ import annotations

import hashlib
import secrets

from itsdangerous import BadData, URLSafeTimedSerializer

from app.errors import InvalidToken
from app.services.context import AppContext
from app.store.ops.secrets import secret

_NAME = "session_signing_key"


class Sessions:
    """Signs and verifies session cookies, valid for `seconds`. The signing key is generated once and kept in the
    database: deleting that row ends all sessions. One ends by time, or by signing out, which deletes the cookie only
    (`api/native/session.py`)."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self.seconds = int(context.settings.session_hours * 3600)
        self._signer: URLSafeTimedSerializer | None = None

    def begin(self, subject: str) -> str:
        """The cookie's value. `subject` is the authority's name of the user."""
        return str(self._signing().dumps([self._context.settings.auth_mode, subject]))

    def subject(self, cookie: str) -> str:
        """The subject of a cookie. Raises InvalidToken if it is forged, expired or of another AUTH_MODE."""
        try:
            mode, subject = self._signing().loads(cookie, max_age=self.seconds)
        except (BadData, TypeError, ValueError):
            mode, subject = None, ""
        if mode != self._context.settings.auth_mode:
            raise InvalidToken("Your session has ended. Sign in again.")
        return str(subject)

    def _signing(self) -> URLSafeTimedSerializer:
        if self._signer is None:
            key = secret(self._context.database, _NAME, lambda: secrets.token_urlsafe(32))
            self._signer = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        return self._signer
