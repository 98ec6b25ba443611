"""A disk of its own for the pictures of a crash test, which can be filled, made read-only, and taken away."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SIZE = "256m"


class Disk:
    """A tmpfs at `folder`/disk, bound to `folder`/images; under that binding lies a disk that takes no files."""

    def __init__(self, folder: Path) -> None:
        self._disk, self._images = folder / "disk", folder / "images"
        self._ballast = self._disk / "ballast"
        self.faults: Mapping[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "disk full": (self.fill, self.empty),
            "disk read-only": (self.make_read_only, self.make_writable),
            "disk gone": (self.take_away, self.put_back),
        }

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        _run("mount", "-o", "remount,bind,ro", str(self._images))

    def make_writable(self) -> None:
        _run("mount", "-o", "remount,bind,rw", str(self._images))

    def take_away(self) -> None:
        _run("umount", "-l", str(self._images))

    def put_back(self) -> None:
        _run("mount", "--bind", str(self._disk), str(self._images))


@contextmanager
def mounted(folder: Path) -> Iterator[Disk | None]:
    """None where mounting is not allowed."""
    disk, images = folder / "disk", folder / "images"
    done: list[Path] = []
    try:
        for place, options in ((disk, f"size={SIZE}"), (images, "size=4k,ro")):
            place.mkdir()
            if not _may_mount(place, options):
                yield None
                return
            done.append(place)
        _run("mount", "--bind", str(disk), str(images))
        done.append(images)
        yield Disk(folder)
    finally:
        for place in reversed(done):
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def _may_mount(place: Path, options: str) -> bool:
    if os.geteuid():
        return False
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
