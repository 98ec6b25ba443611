"""Reload settings at run time: only those that are marked as live.

`.env` and the environment are read again. Invalid settings change nothing; others need a restart and are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import SecretStr

from app.config import Settings
from app.config.kinds import LIVE
from app.errors import ConfigurationError
from app.services.configuration import read_configuration
from app.services.context import AppContext

log = logging.getLogger("cyberimage.settings")

LIVE_SETTINGS = frozenset(name for name, field in Settings.model_fields.items() if field.json_schema_extra == LIVE)


def reload_settings(context: AppContext) -> Sequence[str]:
    """Apply the current values of the live settings to `context`. Returns the names of those that changed."""
    old = context.settings
    try:
        new = read_configuration().settings
    except ConfigurationError as error:
        log.error("The settings were not reloaded because they are invalid: %s", "; ".join(error.problems))
        return ()
    changed = [name for name in Settings.model_fields if getattr(new, name) != getattr(old, name)]
    live = [name for name in changed if name in LIVE_SETTINGS and not _needs_restart(name, old)]
    for name in changed:
        if name not in live:
            log.warning("%s changed; it takes effect at the next start", name.upper())
    for name in live:
        log.warning("%s is now %s (was %s)", name.upper(), _shown(new, name), _shown(old, name))
    context.settings = old.model_copy(update={name: getattr(new, name) for name in live})
    logging.getLogger("cyberimage").setLevel(new.log_level)
    return live


def _needs_restart(name: str, old: Settings) -> bool:
    """True if the limit was off at start: then no limiter is installed. Changing or lifting a limit works."""
    return name in ("rate_limit_generate", "rate_limit_read") and not getattr(old, name)


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return "(secret)" if isinstance(value, SecretStr) else repr(value)
