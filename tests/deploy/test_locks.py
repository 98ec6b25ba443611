"""The lock files match the requirements files, have hashes, and install no CUDA without a GPU."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.config import ROOT
from app.core.torch_builds import CPU_BUILD, CUDA_BUILDS
from tools.install import locks

LOCKS = {
    name: (ROOT / "locks" / f"{name}.txt").read_text()
    for name in ("run", "torch", "cuda", "cuda12", "dev", "no-deps", "s3", "client-generator")
}
BLOCKS = {name: re.split(r"\n(?=\S)", text.strip())[1:] for name, text in LOCKS.items()}


def wanted(file: str) -> list[Requirement]:
    lines = (line.partition(" #")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def locked(*names: str) -> dict[str, str]:
    """By package, the version in these lock files."""
    requirements = [Requirement(block.partition("\\")[0]) for name in names for block in BLOCKS[name]]
    return {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in requirements}


def markers(name: str) -> dict[str, object]:
    """By package, on which platforms a lock file installs it; None for all."""
    requirements = [Requirement(block.partition("\\")[0]) for block in BLOCKS[name]]
    return {canonicalize_name(requirement.name): requirement.marker for requirement in requirements}


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("requirements.txt", ["run", "torch", "cuda"]),
        ("requirements-cuda12.txt", ["cuda12"]),
        ("requirements-dev.txt", ["run", "dev"]),
        ("requirements-no-deps.txt", ["no-deps"]),
        ("requirements-s3.txt", ["run", "s3"]),
        ("requirements-client-generator.txt", ["client-generator"]),
    ],
)
def test_every_requirement_is_locked_in_its_version(file: str, names: list[str]) -> None:
    found = locked(*names)
    for requirement in wanted(file):
        assert found[canonicalize_name(requirement.name)] == str(requirement.specifier), "run `make lock`"


def test_every_package_has_hashes_and_stands_in_one_lock_of_a_platform() -> None:
    for name in LOCKS:
        assert BLOCKS[name]
        assert all("--hash=sha256:" in block for block in BLOCKS[name])
    assert {name: locked("dev")[name] for name in locked("s3")} == locked("s3")
    twice = locked("run").keys() & locked("dev").keys()  # of the service on some platforms, of the tests on all
    assert {name: locked("run")[name] for name in twice} == {name: locked("dev")[name] for name in twice}
    assert twice <= {name for name, marker in markers("run").items() if marker is not None}
    for usual in (
        ("run", "torch", "cuda", "dev", "no-deps"),
        ("run", "cuda12", "dev"),
    ):  # the latter for drivers of CUDA 12
        assert len(locked(*usual)) == sum(len(locked(name)) for name in usual) - len(twice)


def test_without_a_gpu_no_cuda_is_installed() -> None:
    assert not [name for name in locked("run", "torch", "dev") if re.match("nvidia-(?!ml-py)|cuda|triton", name)]
    assert locks("run", "2.13.0+cpu", CPU_BUILD) == ["locks/run.txt", "locks/torch.txt"]


def test_each_build_has_its_libraries() -> None:
    newest, older = CUDA_BUILDS
    libraries = ["locks/torch.txt", "locks/cuda.txt"]
    assert locks("dev", "2.13.0", newest) == ["locks/run.txt", "locks/dev.txt", *libraries]
    assert locks("run", "", newest) == ["locks/run.txt", *libraries]
    assert locks("run", "2.13.0", older) == ["locks/run.txt", "locks/cuda12.txt"]
    assert locks("run", "2.13.0", CPU_BUILD) == ["locks/run.txt", *libraries]  # no CPU build was found
    assert locks("run", "2.13.0+rocm6.4", CPU_BUILD) == ["locks/run.txt", "locks/torch.txt"]


def test_the_libraries_are_those_of_the_cuda_that_the_table_says() -> None:
    for build, lock, package in zip(
        CUDA_BUILDS, ("cuda", "cuda12"), ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"), strict=True
    ):
        assert locked(lock)[package].startswith(f"=={'.'.join(map(str, build.cuda))}.")
    assert locked("cuda")["nvidia-cuda-runtime-cu12"] == locked("cuda12")["nvidia-cuda-runtime-cu12"]  # for xformers
