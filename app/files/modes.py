"""File modes of an installation's files, for new files and existing ones.

A folder is changed after its content, so a folder with the right mode needs no walk: a start lists only the top of each
path. The top itself is changed first of all. Links are not followed, and files of other users are left.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOST_CHANGES = 500_000  # per start; some minutes on a slow network drive


@dataclass(frozen=True)
class Access:
    """`umask` is for new files. Existing ones lose all rights for others; the group gets its owner's or none."""

    umask: int
    group: bool

    def wanted(self, mode: int) -> int:
        owner = mode & 0o700
        return (mode & 0o7000) | owner | (owner >> 3 if self.group else 0)


PRIVATE = Access(0o077, group=False)
GROUP = Access(0o007, group=True)


@dataclass(frozen=True)
class ProtectedPath:
    """A folder of a setting. `own` is a pattern of the names that belong to CyberImage: with other names in it, the
    folder is shared, and its own mode is not changed."""

    folder: Path
    own: str


@dataclass
class Restricted:
    """The result. `unfinished`: there were more changes than the limit per start."""

    changed: int = 0
    failed: int = 0
    unfinished: bool = False


def restrict(places: Iterable[ProtectedPath], access: Access, *, most: int = MOST_CHANGES) -> Restricted:
    """Set the modes of `access` on `places` and their content; at most `most` changes."""
    walk = _Walk(access, most)
    for place in places:
        walk.place(place)
    return walk.done


class _Walk:
    def __init__(self, access: Access, most: int) -> None:
        self._access = access
        self._most = most
        self.done = Restricted()

    def place(self, place: ProtectedPath) -> None:
        folder, own = place.folder.resolve(), re.compile(place.own)
        try:
            top = folder.lstat()
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        ours = [entry for entry in entries if own.fullmatch(entry.name)]
        if len(ours) == len(entries) and not top.st_mode & stat.S_ISVTX:
            self._change(folder, top)
        for entry in ours:
            self._entry(entry)

    def _entry(self, entry: os.DirEntry[str]) -> bool:
        """Whether it has the right mode now, including its content."""
        if self.done.unfinished:
            return False
        try:
            known = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # just removed
            return True
        if stat.S_ISLNK(known.st_mode) or not self._is_wrong(known):
            return True
        if stat.S_ISDIR(known.st_mode) and not self._inside(entry.path):
            return False
        return self._change(entry.path, known)

    def _inside(self, folder: str) -> bool:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return True
        return all(self._entry(entry) for entry in entries)

    def _is_wrong(self, known: os.stat_result) -> bool:
        return known.st_uid == os.geteuid() and self._access.wanted(known.st_mode) != stat.S_IMODE(known.st_mode)

    def _change(self, path: str | Path, known: os.stat_result) -> bool:
        if not self._is_wrong(known):
            return True
        if self.done.changed >= self._most:
            self.done.unfinished = True
            return False
        try:
            self._set(path)
        except FileNotFoundError:
            return True
        except OSError:  # a drive without modes or read-only, or a link was put in its place
            self.done.failed += 1
            return True
        self.done.changed += 1
        return True

    def _set(self, path: str | Path) -> None:
        """By descriptor, so that a link created meanwhile is not followed."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if self._is_wrong(known := os.fstat(descriptor)):
                os.fchmod(descriptor, self._access.wanted(known.st_mode))
        finally:
            os.close(descriptor)
