"""API keys of AUTH_MODE=keys, for administrators: create, list, change the limits of, revoke."""

from __future__ import annotations

import logging
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.api.http.headers import request_id
from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.keys import CreatedKeyBody, KeyBody, KeysBody
from app.api.security.client_identity import identity
from app.api.server.context import app_context
from app.config.rate_limits import check_limit
from app.core.access import MAX_KEY_NAME, ApiKey, Role, check_key_name
from app.core.json_values import Body
from app.errors import InvalidRequest, KeyNotFound, KeysNotUsed, OwnKey
from app.services.auth import api_keys

log = logging.getLogger("cyberimage.access")

api = blueprint("keys", "keys")

_LIMIT = "in the notation of RATE_LIMIT_GENERATE, as `10 per minute`; empty = no limit, null = the general one."


class KeyPath(BaseModel):
    key_id: int = Field(ge=1, lt=2**31, description="The `key_id` of the list.")


class KeyLimits(Body):
    rate_limit_generate: str | None = Field(None, max_length=200, description=f"Images, {_LIMIT}")
    rate_limit_read: str | None = Field(None, max_length=200, description=f"Other requests, {_LIMIT}")

    @field_validator("rate_limit_generate", "rate_limit_read")
    @classmethod
    def _limit(cls, text: str | None) -> str | None:
        return None if text is None else check_limit(text)


class NewKey(KeyLimits):
    name: str = Field(min_length=1, max_length=MAX_KEY_NAME, description="Whose key it is, for the list.")
    role: Literal["user", "admin"] = Field(
        "user", description="An `admin` sees everything, cleans up, and manages keys and models."
    )

    @field_validator("name")
    @classmethod
    def _name(cls, text: str) -> str:
        return check_key_name(text)


@api.get("/api/keys", access=Access.ADMIN, budget="read", responses=responses({200: KeysBody}, KeysNotUsed))
def list_keys() -> KeysBody:
    """List all API keys, without their tokens"""
    return KeysBody(keys=[KeyBody.of(key) for key in api_keys.list_keys(app_context())])


@api.post(
    "/api/keys",
    access=Access.ADMIN,
    budget="read",
    responses=responses({201: CreatedKeyBody}, InvalidRequest, KeysNotUsed),
    description="The answer holds the `token`, which is stored nowhere and shown only here.",
)
def create_key(body: NewKey) -> tuple[CreatedKeyBody, int, dict[str, str]]:
    """Create an API key"""
    key, token = api_keys.add_key(
        app_context(), body.name, Role(body.role), body.rate_limit_generate, body.rate_limit_read
    )
    _note("created", key)
    return CreatedKeyBody.of(key, token=token), 201, {"Cache-Control": "no-store"}


@api.put(
    "/api/keys/<path:key_id>",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: KeyBody}, InvalidRequest, KeyNotFound, KeysNotUsed),
    description="They hold from the key's next request on. What is left out is the general limit again.",
)
def set_key_limits(path: KeyPath, body: KeyLimits) -> KeyBody:
    """Replace the rate limits of an API key"""
    key = api_keys.set_limits(app_context(), path.key_id, body.rate_limit_generate, body.rate_limit_read)
    _note("changed", key)
    return KeyBody.of(key)


@api.delete(
    "/api/keys/<path:key_id>",
    access=Access.ADMIN,
    budget="read",
    responses=responses({200: KeyBody}, KeyNotFound, KeysNotUsed, OwnKey),
    description="It is refused from its next request on. Its jobs and images stay, and so does its line in the list.",
)
def revoke_key(path: KeyPath) -> KeyBody:
    """Revoke an API key"""
    key = api_keys.revoke_key(app_context(), path.key_id, by=identity())
    _note("revoked", key)
    return KeyBody.of(key)


def _note(done: str, key: ApiKey) -> None:
    about = (key.id, key.name, key.role.value, done, identity().client_id, identity().name)
    log.warning("Key %d (%s, %s) was %s by %s (%s)", *about, extra={"request_id": request_id()})
