"""The lock files match the requirements files, have hashes, and install no CUDA without a GPU."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.config import ROOT
from tools.install import locks

LOCKS = {name: (ROOT / "locks" / f"{name}.txt").read_text() for name in ("run", "cuda", "dev")}
BLOCKS = {name: re.split(r"\n(?=\S)", text.strip())[1:] for name, text in LOCKS.items()}


def wanted(file: str) -> list[Requirement]:
    lines = (line.partition(" #")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def locked(*names: str) -> dict[str, str]:
    """By package, the version in these lock files."""
    requirements = [Requirement(block.partition("\\")[0]) for name in names for block in BLOCKS[name]]
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in requirements}


@pytest.mark.parametrize(("file", "names"), [("requirements.txt", ["run"]), ("requirements-dev.txt", ["run", "dev"])])
def test_every_requirement_is_locked_in_its_version(file: str, names: list[str]) -> None:
    found = locked(*names)
    for requirement in wanted(file):
        assert found[canonicalize_name(requirement.name)] == str(requirement.specifier), "run `make lock`"


def test_every_package_has_hashes_and_stands_in_one_lock_only() -> None:
    for name in LOCKS:
        assert BLOCKS[name]
        assert all("--hash=sha256:" in block for block in BLOCKS[name])
    assert len(locked("run", "cuda", "dev")) == sum(len(locked(name)) for name in LOCKS)


def test_without_a_gpu_no_cuda_is_installed() -> None:
    assert not [name for name in locked("run", "dev") if re.match("nvidia-(?!ml-py)|cuda|triton", name)]
    assert locks("run", "2.13.0+cpu") == ["locks/run.txt"]
    assert locks("dev", "2.13.0") == ["locks/run.txt", "locks/dev.txt", "locks/cuda.txt"]
