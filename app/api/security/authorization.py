"""Access control of every request, before a view runs: Host and Origin checks, authentication, authorisation by route,
and ownership of what the path names.

A route is public only when it declares so (`app.api.routing`); what belongs to another client is answered like what
does not exist. A signed URL opens the one file that it names, by reading methods.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeVar

from flask import Flask, current_app, g, request
from werkzeug.routing import Rule

from app.api.routing import Access, current_policy
from app.api.security.client_identity import address_id, identity
from app.api.security.login_throttle import LoginThrottle
from app.api.security.origins import OwnOrigin, TrustedHosts
from app.api.server.context import ApiContext
from app.core.access import Identity, Role
from app.core.lru_cache import LRUCache
from app.core.signed_urls import EXPIRES, SIGNATURE, FileKind
from app.errors import (
    AuthUnavailable,
    BatchNotFound,
    CyberImageError,
    DatabaseUnavailable,
    DeliveryNotFound,
    Forbidden,
    ForeignOrigin,
    ImageNotFound,
    InvalidSignature,
    InvalidToken,
    JobNotFound,
    NotFound,
    RateLimited,
    Unauthorized,
    UntrustedHost,
)
from app.monitoring.requests import Refusal
from app.services.auth.api_keys import ApiKeyAuthority
from app.services.auth.authority import LONGEST_TOKEN, Authority, SignedIn
from app.services.auth.huggingface import HuggingFaceAuthority
from app.services.auth.sessions import Sessions
from app.store.media.owners import OwnerStore

COOKIE = "cyberimage_session"
_BY_PASSWORD = frozenset({"a1111"})  # façades whose clients sign in by HTTP Basic
MOST_OWNERS = 4096  # remembered, of jobs, pictures and messages together

# The parameters of paths that name something with an owner.
OWNED: dict[str, tuple[Callable[[OwnerStore, str], str | None], NotFound]] = {
    "job_id": (OwnerStore.of_job, JobNotFound("There is no job with this id.")),
    "image_id": (OwnerStore.of_output, ImageNotFound("There is no image with this id.")),
    "generation_id": (OwnerStore.of_generation, JobNotFound("There is no generation with this id.")),
    "batch_id": (OwnerStore.of_batch, BatchNotFound("There is no batch with this id.")),
    "delivery_id": (OwnerStore.of_delivery, DeliveryNotFound("There is no webhook delivery with this id.")),
}
_ID = re.compile(r"[0-9a-f]{32}")
_READING = frozenset({"GET", "HEAD"})
_REASONS: dict[type[CyberImageError], Refusal] = {  # the first that fits
    UntrustedHost: Refusal.HOST,
    InvalidToken: Refusal.INVALID,
    Unauthorized: Refusal.ANONYMOUS,
    ForeignOrigin: Refusal.ORIGIN,
    Forbidden: Refusal.FORBIDDEN,
    RateLimited: Refusal.TOO_MANY,
    AuthUnavailable: Refusal.UNAVAILABLE,
}

Answer = TypeVar("Answer")

log = logging.getLogger("cyberimage.access")


class AccessControl:
    """One per application."""

    def __init__(self, here: ApiContext) -> None:
        context = here.context
        self._meter = here.refusal_metrics
        self._settings = context.settings
        self._owners = context.owners
        self._signed_urls = context.signed_urls
        self._known_owners: LRUCache[str, str] = LRUCache(MOST_OWNERS)
        self._hosts = TrustedHosts(self._settings)
        self._origins = OwnOrigin(self._settings)
        has_sign_in = self._settings.auth_mode != "none"
        self._login_throttle = LoginThrottle(context, self._settings.auth_failures_per_minute if has_sign_in else 0)
        self.sessions = Sessions(context)
        self.authority: Authority | None = None
        if self._settings.auth_mode == "keys":
            self.authority = ApiKeyAuthority(context)
        elif self._settings.auth_mode == "huggingface":
            self.authority = HuggingFaceAuthority(self._settings)

    def admit(self) -> None:
        """Let the current request in, with `g.identity` set, or raise what keeps it out."""
        try:
            self._admit()
        except CyberImageError as error:
            reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), None)
            if reason is not None:
                self._meter.refused(reason)
            raise

    def sign_in(self, token: str) -> SignedIn:
        """Raises InvalidToken, Forbidden, RateLimited or AuthUnavailable; NotFound with AUTH_MODE=none."""
        if self.authority is None:
            raise NotFound("There is no sign-in on this server: AUTH_MODE is none.")
        return self._tried(token, self.authority.sign_in)

    def identify(self) -> Identity:
        """The identity of the current request. Raises Unauthorized, Forbidden, RateLimited or AuthUnavailable."""
        if self.authority is None:
            return Identity(address_id(), Role.ADMIN, "everybody")
        token, cookie = bearer_token() or _password(), request.cookies.get(COOKIE)
        if token is not None:
            return self._tried(token, self.authority.identify)
        if cookie is not None:
            return self.authority.resume(self.sessions.subject(cookie))
        raise Unauthorized("Send a token as Authorization: Bearer, or sign in on the page.")

    def _admit(self) -> None:
        self._hosts.check()
        rule = request.url_rule
        if rule is None or is_automatic(rule):
            return
        if self.authority is None or bearer_token() is None:  # a token is nothing that a browser sends by itself
            self._origins.check(by_cookie=self.authority is not None and COOKIE in request.cookies)
        policy = current_policy()
        if policy.signed_file is not None and request.method in _READING and SIGNATURE in request.args:
            g.signed_seconds = self._check_signature(policy.signed_file)
            return
        access = policy.access
        if access is Access.PUBLIC or (access is Access.METRICS and self._settings.metrics_public):
            return
        g.identity = identity = self.identify()
        if access is Access.ADMIN:
            self._check_admin(identity)
        self._check_owner(identity)

    def _check_signature(self, kind: FileKind) -> int:
        """The seconds for which the URL of the current request is valid. A signature decides alone, whatever token or
        cookie there is. Raises InvalidSignature or UrlExpired."""
        sent = [request.args.getlist(name) for name in (EXPIRES, SIGNATURE)]
        if any(len(values) != 1 for values in sent):
            raise InvalidSignature
        ((expires,), (signature,)) = sent
        image_id = str((request.view_args or {}).get("image_id"))
        return self._signed_urls.check(kind, image_id, expires, signature)

    def _tried(self, token: str, way: Callable[[str], Answer]) -> Answer:
        """`way(token)`, unless the address has guessed enough. Tokens known to be good are never held up."""
        address = address_id()
        if self.authority is not None and not self.authority.has_accepted(token):
            self._login_throttle.check(address)
        try:
            return way(token)
        except InvalidToken as error:
            self._login_throttle.failed(address)
            log.warning("Refused a token from %s: %s", address, error.detail)
            raise

    def _check_admin(self, identity: Identity) -> None:
        if not identity.is_admin:
            raise Forbidden("Only an administrator may do this.")
        if self.authority is not None:
            log.info("%s (%s) asks for %s %s", identity.client_id, identity.name, request.method, request.path)

    def _check_owner(self, identity: Identity) -> None:
        """Raises what would be raised if there were no such thing, for whatever is not theirs."""
        if identity.is_admin:
            return
        for name, value in (request.view_args or {}).items():
            if name in OWNED:
                self.check_owned(identity, name, value)

    def check_owned(self, identity: Identity, name: str, value: str) -> None:
        """Raises what OWNED has for `name` unless the thing of the id `value` is theirs."""
        missing = OWNED[name][1]
        theirs = _ID.fullmatch(value) and (identity.is_admin or identity.may_touch(self._owner(name, value)))
        if not theirs:
            raise type(missing)(missing.detail)

    def _owner(self, name: str, value: str) -> str | None:
        """An owner never changes, so it is cached: clients poll."""
        known = self._known_owners.get(value)
        if known is None and (known := OWNED[name][0](self._owners, value)) is not None:
            self._known_owners.put(value, known)
        return known


def register(app: Flask) -> None:
    app.before_request(lambda: access_control().admit())


def check_owned(name: str, value: str) -> None:
    """For what a body names: raises what is raised for a path that names it. `name` is one of OWNED."""
    access_control().check_owned(identity(), name, value)


def revocation_check() -> Callable[[], CyberImageError | None]:
    """For streams: a function that returns, at any later time and in any thread, why the sender of the current request
    would be refused now; None while it would not."""
    authority, known = access_control().authority, identity()
    if authority is None:
        return lambda: None

    def revoked() -> CyberImageError | None:
        try:
            return None if authority.is_still_valid(known) else InvalidToken("The key was revoked.")
        except DatabaseUnavailable:
            return None

    return revoked


def is_automatic(rule: Rule) -> bool:
    """Whether Flask itself answers the current request without running the view of `rule`: OPTIONS, where the rule
    does not name it. Without a rule it answers 404, 405, or a redirect to the right spelling."""
    return request.method == "OPTIONS" and bool(getattr(rule, "provide_automatic_options", False))


def access_control() -> AccessControl:
    found: AccessControl = current_app.extensions["cyberimage-access-control"]
    return found


def _password() -> str | None:
    """The password of HTTP Basic, which is the token of clients that know nothing else; of their routes only."""
    sent = request.authorization
    if current_policy().facade not in _BY_PASSWORD or sent is None or sent.type != "basic" or not sent.password:
        return None
    return _checked(sent.password)


def bearer_token() -> str | None:
    """The token that the request carries. None when it has none, or a header that is meant for a proxy before us."""
    kind, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    token = token.strip()
    return _checked(token) if kind.lower() == "bearer" else None


def _checked(token: str) -> str:
    """Raises InvalidToken for what cannot be one."""
    if not token.isascii() or not token.isprintable() or not 0 < len(token) <= LONGEST_TOKEN:
        raise InvalidToken("The token is empty or has characters that no token has.")
    return token
