"""Interface of token authentication; implemented for API keys (`api_keys.py`) and Hugging Face (`huggingface.py`)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol

from app.core.access import Identity

LONGEST_TOKEN = 512


class SignedIn(NamedTuple):
    """An authenticated identity. `subject` is what a session cookie stores instead of the token."""

    identity: Identity
    subject: str


class Authority(Protocol):
    """Authenticates tokens for one AUTH_MODE. Thread-safe."""

    def identify(self, token: str) -> Identity:
        """Raises InvalidToken, Forbidden (valid token without the needed permission), or AuthUnavailable."""

    def sign_in(self, token: str) -> SignedIn:
        """`identify` a token and prepare for `resume` of its subject. Raises the same."""

    def resume(self, subject: str) -> Identity:
        """The identity of a session's `subject`, if it is still valid. Raises the same."""

    def is_still_valid(self, identity: Identity) -> bool:
        """False if the identity is known to be revoked; checked without network access."""

    def has_accepted(self, token: str) -> bool:
        """True if `identify` accepted this token recently; makes no database or network call."""


def digest(token: str) -> str:
    """The stored form of a token. A plain hash is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()
