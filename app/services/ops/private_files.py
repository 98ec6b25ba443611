"""Restricts the installation's files to its user or group (FILE_MODE): database, logs, media, backups, downloads.
New files by the process' umask, existing ones by changing their modes at start."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from app.config import ROOT, Settings
from app.files.modes import GROUP, PRIVATE, Access, ProtectedPath, restrict

_MEDIA = r"\d{4}|\.partial-.*|\.gitkeep"
_LOGS = r"(?:app|errors|models)\.log(?:\..*)?|\.__.*\.lock|run\.pid|\.gitkeep"
_DOWNLOADS = r"huggingface|loras|profiles|compiled|\.gitkeep"

log = logging.getLogger("cyberimage.files")


def access_of(settings: Settings) -> Access:
    return GROUP if settings.file_mode == "group" else PRIVATE


def protect_files(settings: Settings) -> None:
    """Set this process' umask and change the modes of existing files. Call it at the start of every process."""
    access = access_of(settings)
    os.umask(access.umask)
    done = restrict(_places(settings), access)
    allowed = "its user and group" if access.group else "its user"
    if done.changed:
        log.warning("%s files and folders were open to others; now only %s may use them", f"{done.changed:,}", allowed)
    if done.failed:
        log.warning("The modes of %s files and folders could not be changed", f"{done.failed:,}")
    if done.unfinished:
        log.warning("More files remain; the next start continues")


def _places(settings: Settings) -> Iterator[ProtectedPath]:
    if settings.database_url.startswith("sqlite:///"):
        file = Path(settings.database_url.removeprefix("sqlite:///").partition("?")[0])
        yield ProtectedPath(file.resolve().parent, own=rf"{re.escape(file.resolve().name)}.*|backups|\.gitkeep")
    yield ProtectedPath(settings.upgrade_backup_folder, own=r"\.?before-upgrade-.*")
    yield ProtectedPath(settings.images_dir, own=_MEDIA)
    yield ProtectedPath(settings.videos_dir, own=_MEDIA)
    yield ProtectedPath(settings.log_dir, own=_LOGS)
    cache = settings.model_cache_dir
    yield ProtectedPath(cache, own=".*" if cache.resolve().is_relative_to(ROOT) else _DOWNLOADS)
