"""Measures the disk's sync time, and simulates a slower disk.

Virtual disks often answer a sync from the host's memory in a tenth of a millisecond; a consumer's drive takes two or
three, and there a queue is as fast as its commits are few. `slowed` puts a fixed wait before each sync of every process
started within it, the same for all contenders.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRELOADED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int slow(const char *name, int fd) {
    struct timespec wait = {0, WAIT_NANOSECONDS};
    nanosleep(&wait, 0);
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return slow("fsync", fd); }
int fdatasync(int fd) { return slow("fdatasync", fd); }
"""


def sync_milliseconds(folder: Path, samples: int = 200) -> float:
    """Median of appending a page to a file and syncing it."""
    path, seen = folder / "sync-probe", []
    with path.open("wb", buffering=0) as file:
        for _ in range(samples):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            seen.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(seen) * 1000


@contextmanager
def slowed(milliseconds: float, folder: Path) -> Iterator[None]:
    """Processes started within the block take longer at every sync. Raises RuntimeError without a compiler."""
    if not milliseconds:
        yield
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("a slower disk needs a C compiler: install gcc, or leave --sync-ms out")
    library = folder / "slow-sync.so"
    flags = ["-shared", "-fPIC", "-O2", f"-DWAIT_NANOSECONDS={round(milliseconds * 1e6)}", "-x", "c", "-", "-ldl"]
    subprocess.run([compiler, *flags, "-o", str(library)], input=_PRELOADED, text=True, check=True)
    before = os.environ.get("LD_PRELOAD")
    os.environ["LD_PRELOAD"] = f"{library}:{before}" if before else str(library)
    try:
        yield
    finally:
        os.environ.pop("LD_PRELOAD") if before is None else os.environ.update(LD_PRELOAD=before)
