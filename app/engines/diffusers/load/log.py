"""The log of the models, and telling something only once in a process."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger("cyberimage.models")


@cache
def warn_once(message: str) -> None:
    """Log `message` as a warning the first time it is said."""
    log.warning(message)
