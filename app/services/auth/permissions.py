"""Permission checks where only a `client_id` is known, not a request's identity."""

from __future__ import annotations

from app.services.context import AppContext


def may_use(context: AppContext, client_id: str, owner: str) -> bool:
    """The rule of `app.core.access`: clients may use their own resources, administrators all."""
    return context.settings.auth_mode == "none" or client_id == owner or is_admin(context, client_id)


def is_admin(context: AppContext, client_id: str) -> bool:
    """True if this key or user is an administrator now."""
    kind, _, name = client_id.partition(":")
    if kind == "hf":
        return name in context.settings.auth_admin_names
    if kind != "key" or not name.isdecimal():
        return False
    key = context.api_keys.by_id(int(name))
    return key is not None and key.identity.is_admin
