"""Signing in on the page: a token is traded for a cookie that scripts cannot read, because pictures and event streams
cannot carry a header."""

from __future__ import annotations

import logging

from flask import Response, make_response, request
from pydantic import Field

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.session import SessionBody
from app.api.security.authorization import COOKIE, access_control
from app.api.security.client_identity import address_id
from app.api.server.context import app_context
from app.core.access import Identity
from app.core.json_values import Body
from app.errors import AuthUnavailable, Forbidden, InvalidRequest, InvalidToken, NotFound, RateLimited, Unauthorized
from app.services.auth.authority import LONGEST_TOKEN
from app.services.urls import url

log = logging.getLogger("cyberimage.access")

api = blueprint("session", "session")

LARGEST_SIGN_IN = 16_384  # bytes: this body is read before its sender is known
REFUSALS = (InvalidToken, Forbidden, RateLimited, AuthUnavailable)


class SignIn(Body):
    token: str = Field(
        min_length=1,
        max_length=LONGEST_TOKEN,
        pattern=r"^[\x21-\x7e]+$",
        description="A key of this server, or a Hugging Face token, as AUTH_MODE says.",
    )


@api.get("/api/session", access=Access.PUBLIC, budget="read", responses=responses({200: SessionBody}, AuthUnavailable))
def who_am_i() -> SessionBody:
    """Get the authentication mode and the current identity"""
    try:
        return _body(access_control().identify())
    except (Unauthorized, Forbidden):
        return _body(None)


@api.post(
    "/api/session",
    access=Access.PUBLIC,
    budget="read",
    max_body_bytes=LARGEST_SIGN_IN,
    responses=responses({200: SessionBody}, InvalidRequest, *REFUSALS, NotFound),
    description="Sets a cookie for the browser. Programs send `Authorization: Bearer <token>` instead.",
)
def sign_in(body: SignIn) -> Response:
    """Sign in"""
    here = access_control()
    recognised = here.sign_in(body.token)
    log.info("%s (%s) signs in from %s", recognised.identity.client_id, recognised.identity.name, address_id())
    response = make_response(_body(recognised.identity))
    response.set_cookie(
        COOKIE,
        here.sessions.begin(recognised.subject),
        max_age=here.sessions.seconds,
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
        path=url("/"),
    )
    return response


@api.delete("/api/session", access=Access.PUBLIC, budget="read", responses=responses({204: None}))
def sign_out() -> Response:
    """Sign out"""
    response = Response(status=204)
    response.delete_cookie(COOKIE, path=url("/"), secure=request.is_secure, httponly=True, samesite="Strict")
    return response


def _body(identity: Identity | None) -> SessionBody:
    return SessionBody.of(identity, mode=app_context().settings.auth_mode)
