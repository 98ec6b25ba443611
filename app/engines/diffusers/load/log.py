"""The logger of the diffusers engine, and warnings that are logged once per process."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger("cyberimage.models")


@cache
def warn_once(message: str) -> None:
    """Log `message` as a warning on the first call with it."""
    log.warning(message)
