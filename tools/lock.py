"""Generate locks/: all packages resolved from the requirements files, for every platform, with hashes.

    make lock

`run.txt` has the runtime dependencies but for torch, which is in `torch.txt`; `cuda.txt` the libraries of its default
build for GPUs (the CPU build does not need them); `cuda12.txt` the torch for older drivers with its libraries, instead
of both; `s3.txt` what buckets need besides; `no-deps.txt` what is installed without its dependencies; `dev.txt` the
additional packages of tests and linters; `client-generator.txt` the generator of Python clients, for an environment of
its own. uv resolves for all platforms at once.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
CUDA = re.compile(r"(nvidia-(?!ml-py)|cuda-|triton$)")
OLDEST_PYTHON = "3.11"
HEADER = "# Made by `make lock` from {source}; do not edit.\n"

Blocks = dict[str, list[str]]


def main() -> int:
    LOCKS.mkdir(exist_ok=True)
    run = resolved("requirements.txt", "--constraints", "requirements-dev.txt")
    cuda = {name: block for name, block in run.items() if CUDA.match(name)}
    dev = resolved("requirements-dev.txt")
    if changed := [name for name, block in run.items() if versions(dev[name]) != versions(block)]:
        print(f"The development requirements would change what CyberImage runs on: {', '.join(changed)}")
        return 1
    rest = {name: run[name] for name in run.keys() - cuda.keys() - {"torch"}}
    older = resolved_for_cuda_12(rest)
    if changed := [name for name in older.keys() & rest.keys() if versions(older[name]) != versions(rest[name])]:
        print(f"The torch for CUDA 12 would change what CyberImage runs on: {', '.join(changed)}")
        return 1
    write("run.txt", "requirements.txt", rest)
    write("torch.txt", "requirements.txt", {"torch": run["torch"]})
    write("cuda.txt", "requirements.txt", cuda)
    own = {name: block for name, block in older.items() if name == "torch" or CUDA.match(name)}
    write("cuda12.txt", "requirements-cuda12.txt", own)
    write("no-deps.txt", "requirements-no-deps.txt", resolved("requirements-no-deps.txt", "--no-deps"))
    buckets = resolved("requirements-s3.txt", "--constraints", "requirements-dev.txt")
    write("s3.txt", "requirements-s3.txt", {name: block for name, block in buckets.items() if name not in run})
    generator = resolved("requirements-client-generator.txt")
    write("client-generator.txt", "requirements-client-generator.txt", generator)
    more = {name for name in dev if name not in run or pins(dev[name]) != pins(run[name])}  # also on more platforms
    write("dev.txt", "requirements-dev.txt", {name: dev[name] for name in more})
    return 0


def resolved(requirements: str, *more: str) -> Blocks:
    """The packages resolved from `requirements`: by name, the lines of a requirements file with hashes."""
    options = ("--universal", "--generate-hashes", "--no-header", "--python-version", OLDEST_PYTHON, "--quiet")
    command = (sys.executable, "-m", "uv", "pip", "compile", *options, *more, requirements)
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    blocks = re.split(r"\n(?=\S)", re.sub(r"^ +#.*\n?", "", text, flags=re.MULTILINE).strip())
    found: Blocks = {}
    for block in blocks:  # two of one name when a newer version wants a newer Python
        found.setdefault(re.split(r"[=\[ ]", block, maxsplit=1)[0], []).append(block.strip())
    return found


def resolved_for_cuda_12(rest: Blocks) -> Blocks:
    """The packages with the torch of requirements-cuda12.txt instead, and everything else as in `rest`."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pin for blocks in rest.values() for pin in pins(blocks)))
        constraints.flush()
        return resolved("requirements.txt", "--constraints", constraints.name, "--override", "requirements-cuda12.txt")


def versions(blocks: list[str]) -> set[str]:
    """The versions alone: another set of requirements needs some packages on other platforms."""
    return {pin.partition(";")[0].strip() for pin in pins(blocks)}


def pins(blocks: list[str]) -> list[str]:
    return [block.partition("\\")[0] for block in blocks]


def write(file: str, source: str, blocks: Blocks) -> None:
    body = "\n".join(block for name in sorted(blocks) for block in blocks[name])
    (LOCKS / file).write_text(f"{HEADER.format(source=source)}{body}\n")
    print(f"locks/{file}: {len(blocks)} packages")


if __name__ == "__main__":
    sys.exit(main())
