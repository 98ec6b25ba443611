"""Signed URLs: they open one picture or video and its thumbnail until a time, to whichever client holds them.

The key is generated once, kept in the database, and read anew each time: when it is replaced, all URLs signed with it
are worthless at once, in all processes.
"""

from __future__ import annotations

import secrets
import time

from app.core.job import JobView
from app.core.signed_urls import EXPIRES, SIGNATURE, FileKind, check_signature, signature_of
from app.core.times import iso
from app.errors import FieldError, Forbidden, InvalidRequest, InvalidSignature
from app.services.job_body import Sign, SignedUrls, webhook_message
from app.services.urls import url
from app.store.db.database import Database
from app.store.ops.secrets import known_secret, replace_secret, secret

_NAME = "url_signing_key"


class UrlSigner:
    """Thread-safe. `seconds` is how long URLs last, and the most that a client may ask for; 0: none are signed and none
    are valid. `public_url` is put before the URLs of webhooks, whose receivers do not know where we are."""

    def __init__(self, database: Database, seconds: int, public_url: str) -> None:
        self._database = database
        self._seconds = seconds
        self._public_url = public_url

    def signing(self, seconds: int | None = None) -> Sign:
        """Signs the URLs of ids, to expire in `seconds`. Raises Forbidden if it is switched off, and InvalidRequest for
        more than is allowed."""
        if not self._seconds:
            raise Forbidden("Signed URLs are switched off on this server (SIGNED_URL_SECONDS=0).")
        if seconds is not None and seconds > self._seconds:
            message = f"must be {self._seconds} or less (SIGNED_URL_SECONDS), not {seconds}"
            raise InvalidRequest(f"seconds {message}.", errors=[FieldError("seconds", message)])
        key = secret(self._database, _NAME, _make_key)
        return _signing(key, self._seconds if seconds is None else seconds, self._public_url)

    def check(self, kind: FileKind, image_id: str, expires: str, signature: str) -> int:
        """The seconds for which the URL is still valid. Raises InvalidSignature or UrlExpired."""
        key = known_secret(self._database, _NAME) if self._seconds else None
        if key is None:
            raise InvalidSignature
        return check_signature(key, kind, image_id, expires, signature, time.time())

    def webhook_message(self, view: JobView) -> str:
        """The message about a job that has ended. Made in the transaction that ends the job, it writes nothing: before
        there is a key, nothing is signed."""
        key = known_secret(self._database, _NAME) if self._seconds and view.outputs else None
        return webhook_message(view, None if key is None else _signing(key, self._seconds, self._public_url))

    def prepare(self) -> None:
        """Generate the key if there is none."""
        secret(self._database, _NAME, _make_key)

    def revoke_all(self) -> None:
        """Replace the key: no URL that was signed before is valid any more."""
        replace_secret(self._database, _NAME, _make_key())


def _signing(key: str, seconds: int, public_url: str) -> Sign:
    expires = str(int(time.time()) + seconds)

    def signed(kind: FileKind, image_id: str, path: str) -> str:
        address = f"{public_url}{path}" if public_url else url(path)
        return f"{address}?{EXPIRES}={expires}&{SIGNATURE}={signature_of(key, kind, image_id, expires)}"

    def sign(image_id: str) -> SignedUrls:
        path = f"/api/image/{image_id}"
        return SignedUrls(
            url=signed("file", image_id, path),
            thumbnail_url=signed("thumbnail", image_id, f"{path}/thumbnail"),
            expires_at=iso(float(expires)),
        )

    return sign


def _make_key() -> str:
    return secrets.token_urlsafe(32)
