"""Removes the files of pictures whose rows are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from app.errors import MediaUnavailable
from app.services.context import AppContext

log = logging.getLogger("cyberimage.media")


def remove_files(context: AppContext, names: Iterable[str]) -> None:
    """Remove these files. While the media store cannot be used, they stay: without rows they are orphans, which the
    next sweeps remove."""
    left = list(names)
    try:
        while left:
            context.images.remove(left[-1])
            left.pop()
    except MediaUnavailable as error:
        log.warning("%s files of removed pictures are left for a later clean-up: %s", len(left), error.detail)
