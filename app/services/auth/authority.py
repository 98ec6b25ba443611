"""Whose token is it? What keys and Hugging Face have in common; the two ways are `keys.py` and `hub_users.py`."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol

from app.core.access import Identity

LONGEST_TOKEN = 512


class Recognised(NamedTuple):
    """`subject` is what a session remembers instead of the token."""

    identity: Identity
    subject: str


class Authority(Protocol):
    """One of AUTH_MODE's ways to tell who somebody is. Safe with threads."""

    def identify(self, token: str) -> Identity:
        """Raises InvalidToken, Forbidden (it is good, but not for this), or AuthUnavailable."""

    def sign_in(self, token: str) -> Recognised:
        """`identify`, and be ready to recall it. Raises the same."""

    def recall(self, subject: str) -> Identity:
        """Who signed in earlier, if that still holds. Raises the same."""

    def endures(self, identity: Identity) -> bool:
        """Whether somebody recognised a while ago still is, as far as can be told without leaving the house."""

    def knows(self, token: str) -> bool:
        """Whether `identify` found this very token good a while ago; asks nobody."""


def digest(token: str) -> str:
    """What is kept of a token: with 256 bits of chance in it, a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()
