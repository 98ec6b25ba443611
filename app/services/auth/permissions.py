"""Whether a client may use what another one made, where only its `client_id` is at hand: in a request's own words."""

from __future__ import annotations

from app.services.context import AppContext
from app.store.ops.api_keys import ApiKeyStore


def may_use(context: AppContext, client_id: str, owner: str) -> bool:
    """The same rule as at the door (`app.core.access`): one's own, or everything for an administrator."""
    return context.settings.auth_mode == "none" or client_id == owner or is_admin(context, client_id)


def is_admin(context: AppContext, client_id: str) -> bool:
    """Whether the key or user of this name is one now."""
    kind, _, name = client_id.partition(":")
    if kind == "hf":
        return name in context.settings.auth_admin_names
    if kind != "key" or not name.isdecimal():
        return False
    key = ApiKeyStore(context.database).by_id(int(name))
    return key is not None and key.identity.is_admin
