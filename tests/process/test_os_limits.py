"""Operating system limits of a process."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

HEAPS_OF_TWELVE_THREADS = """
import ctypes, sys, threading
from app.process.os_limits import limit_malloc_arenas
if {share}:
    limit_malloc_arenas()
libc, held, gathered = ctypes.CDLL(None), [], threading.Barrier(12)
libc.malloc.restype = ctypes.c_void_p

def work():
    gathered.wait()
    held.extend(libc.malloc(1000) for _ in range(1000))

threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def said_by(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
@pytest.mark.parametrize("share", [True, False])
def test_threads_share_few_arenas(share: bool) -> None:
    program = HEAPS_OF_TWELVE_THREADS.format(share=share)
    assert (said_by(program).count("<heap nr=") <= 2) is share


def test_as_many_files_as_the_system_allows() -> None:
    program = (
        "import resource; from app.process.os_limits import allow_many_files;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]));"
        "allow_many_files(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(said_by(program)) == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))
