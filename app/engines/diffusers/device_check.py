"""Tests the device of a worker: allocate, multiply, compare with the CPU.

python -m app.engines.diffusers.device_check cuda|cpu. A process of its own: after a sticky error, or with a driver that
hangs, the process that tests is lost. Prints what is wrong, and exits with 1 then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from app.core.faults import is_out_of_memory

_SIDE = 512
_MOST = 8  # small integers: their products and sums are exact in every precision that a device multiplies in
_BYTES = 2**26


def problem_of(kind: str) -> str | None:
    """What is wrong with the first device of `kind`; None when it works."""
    if kind == "cuda" and not torch.cuda.is_available():
        return "torch sees no GPU; is the driver loaded, and does `nvidia-smi` work?"
    try:
        return _computes(torch.device(kind))
    except RuntimeError as error:
        if is_out_of_memory(error):  # other programs use its memory: that is for the job to find out
            return None
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _computes(device: torch.device) -> str | None:
    generator = torch.Generator("cpu").manual_seed(7)
    numbers = torch.randint(0, _MOST, (_SIDE, _SIDE), generator=generator).float()
    product = (numbers.to(device) @ numbers.to(device)).cpu()
    if not torch.equal(product, numbers @ numbers):
        return "it computes wrong results"
    block = torch.full((_BYTES,), 1, dtype=torch.uint8, device=device)
    if int(block.sum(dtype=torch.int64)) != _BYTES:
        return "its memory does not keep what is written to it"
    return None


def main(arguments: Sequence[str]) -> int:
    problem = problem_of(arguments[0])
    if problem is not None:
        sys.stdout.write(f"{problem}\n")
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
