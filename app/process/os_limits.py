"""What a process asks of the operating system and of the C library: files, connections, memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource

MOST_FILES = 65_536
MOST_CONNECTIONS = 10_000
ARENAS = 2
PRIVATE_UMASK = 0o077
_M_ARENA_MAX = -8  # of glibc's mallopt(3)


def keep_files_private() -> None:
    """Let nobody else read what this process writes, whatever umask it was started with. The first thing that a process
    does: log files are made before the settings have been read. FILE_MODE may widen it then."""
    os.umask(PRIVATE_UMASK)


def allow_many_files() -> None:
    """Every open connection is one. Many systems start programs with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """How many connections this process may hold. An idle one costs a few kilobytes and a file."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(256, min(MOST_CONNECTIONS, soft * 3 // 4))


def share_arenas() -> None:
    """Let all threads take memory from the same few places.

    By default glibc gives each thread its own, eight for a core, and each keeps what its thread once needed: in five
    minutes of load 14 MB lay idle, against 6 MB with two. Other C libraries have no such call, or heed it not.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
