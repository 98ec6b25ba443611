"""Run the tests of threads and processes repeatedly under CPU load, to find race conditions.

    python -m tools.check_under_load [--load 8] [--rounds 5] [test paths]

A test that only passes when its threads are scheduled at once has a race: under load they seldom are. Failed tests are
not retried: the first failure ends the run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

TESTS = ("tests/worker", "tests/store", "tests/services", "tests/e2e")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.check_under_load", description=__doc__)
    parser.add_argument("--load", type=int, default=8, help="processes that do nothing but compute")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("tests", nargs="*", default=TESTS)
    asked = parser.parse_args()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "--dist", "loadfile", *asked.tests]
    with busy(asked.load):
        for number in range(1, asked.rounds + 1):
            started = time.monotonic()
            code = subprocess.run(command, check=False).returncode
            result = "passed" if code == 0 else "failed"
            print(f"== round {number} {result} after {time.monotonic() - started:.0f} s", flush=True)
            if code:
                return code
    return 0


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Run `number` busy processes until the end of the block."""
    processes = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _compute() -> None:
    while True:
        sum(range(100_000))


if __name__ == "__main__":
    sys.exit(main())
