"""Run the numerical tests with the kernels of other processors: other vector instructions and thread counts.

    python -m tools.check_numbers [pytest arguments]

torch and oneDNN choose their kernels by the processor's features; here environment variables disable some of them. A
test that only passes with the kernels of one machine fails in one of these runs. Features that the processor lacks
cannot be tested: the first line of output lists those it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch

TESTS = ("tests/engines", "tests/demo_model", "tests/e2e/test_meaning.py")
NOT_NUMERICAL = ("test_downloads", "test_finding_files", "test_hub", "test_refusals", "test_registry")
# (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA, threads); None is what the machine has.
RUNS: tuple[tuple[str | None, str | None, int], ...] = (
    ("default", None, 1),
    ("default", None, 2),
    ("avx2", None, 1),
    ("avx2", None, 2),
    (None, None, 1),
    (None, None, 2),
    (None, "SSE41", 1),
    (None, "AVX2", 2),
)


def main(arguments: list[str]) -> int:
    print(f"This processor: {torch.backends.cpu.get_cpu_capability()}", flush=True)
    failed = [run for run in RUNS if not passes(*run, arguments)]
    for run in failed:
        print(f"FAILED: {named(*run)}")
    print(f"{len(RUNS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def passes(capability: str | None, isa: str | None, threads: int, arguments: list[str]) -> bool:
    """Whether the tests pass with these kernels; pytest's output is shown."""
    environment = {**os.environ, "TEST_TORCH_THREADS": str(threads)}
    if capability is not None:
        environment["ATEN_CPU_CAPABILITY"] = capability
    if isa is not None:
        environment["ONEDNN_MAX_CPU_ISA"] = isa
    # More threads than cores, each spinning while it waits for the others, take ten times as long.
    environment["OMP_WAIT_POLICY"] = "passive"
    processes = max(1, (os.cpu_count() or 1) // threads)
    started = time.monotonic()
    ignored = [f"--ignore-glob=*/{name}.py" for name in NOT_NUMERICAL]
    options = ["-q", "--timeout", "900", "-n", str(processes)]
    command = [sys.executable, "-m", "pytest", *options, *TESTS, *ignored, *arguments]
    print(f"\n== {named(capability, isa, threads)}", flush=True)
    code = subprocess.run(command, env=environment, check=False).returncode
    print(f"== {'passed' if code == 0 else f'pytest ended with {code}'} after {time.monotonic() - started:.0f} s")
    return code == 0


def named(capability: str | None, isa: str | None, threads: int) -> str:
    kernels = f"ATEN_CPU_CAPABILITY={capability or 'as it is'}, ONEDNN_MAX_CPU_ISA={isa or 'as it is'}"
    return f"{kernels}, {threads} thread{'s' if threads > 1 else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
