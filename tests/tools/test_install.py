"""The installer finds the driver, also in WSL2, chooses the build of torch, and notices a GPU that comes later."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.config import ROOT
from app.core.torch_builds import CPU_BUILD, CUDA_BUILDS, build_for_driver
from tools import install

OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\nGCC\n"
MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: 12\n"


@pytest.fixture
def bare(monkeypatch, tmp_path) -> Path:
    """A machine without any sign of a driver; the folder in which tests put some."""
    monkeypatch.setattr(install.ctypes, "CDLL", _no_library)
    monkeypatch.setenv("PATH", "")
    for name in ("WSL_FOLDER", "WSL_DEVICE", "PROC_FILE", "NVIDIA_DEVICE"):
        monkeypatch.setattr(install, name, tmp_path / name.lower())
    return tmp_path


def _no_library(name: str) -> None:
    raise OSError(name)


class Nvml:
    """The driver's library, reporting `version`; with `broken` it does not initialise."""

    def __init__(self, version: str, *, broken: bool = False) -> None:
        self.version, self.broken = version.encode(), broken

    def nvmlInit_v2(self) -> int:
        return 18 if self.broken else 0

    def nvmlSystemGetDriverVersion(self, text, size: int) -> int:
        text.value = self.version
        return 0


def program(folder: Path, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_driver(bare) -> None:
    assert install.nvidia_driver() == ""
    assert install.remark_about("", CPU_BUILD) == ""


@pytest.mark.parametrize(("text", "version"), [(OPEN_MODULE, "580.65.06"), (MODULE, "550.54.14"), ("nothing", "")])
def test_the_driver_of_the_kernel_module(bare, text, version) -> None:
    (bare / "proc_file").write_text(text)
    assert install.nvidia_driver() == version


def test_the_driver_of_nvidia_smi(bare, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(program(bare / "bin", r"570.86.15\n570.86.15\n").parent))
    assert install.nvidia_driver() == "570.86.15"


def test_wsl2_has_the_program_or_the_library_in_a_folder_of_its_own(bare, monkeypatch) -> None:
    (bare / "wsl_device").touch()
    assert "install its driver in Windows" in install.remark_about("", CPU_BUILD)
    program(bare / "wsl_folder", "581.15")
    assert install.nvidia_driver() == "581.15"
    library = str(bare / "wsl_folder" / "libnvidia-ml.so.1")
    monkeypatch.setattr(install.ctypes, "CDLL", lambda name: Nvml("591.44") if name == library else _no_library(name))
    assert install.nvidia_driver() == "591.44"


def test_a_library_that_does_not_initialise_is_not_the_last_word(bare, monkeypatch) -> None:
    monkeypatch.setattr(install.ctypes, "CDLL", lambda name: Nvml("1", broken=True))
    (bare / "proc_file").write_text(OPEN_MODULE)
    assert install.nvidia_driver() == "580.65.06"


def test_what_cannot_be_used_is_said(bare) -> None:
    assert "too old" in install.remark_about("470.82", build_for_driver("470.82"))
    assert "525 or newer" in install.remark_about("470.82", build_for_driver("470.82"))
    (bare / "nvidia_device").touch()
    assert "does not respond" in install.remark_about("", CPU_BUILD)


@pytest.fixture
def environment(bare, monkeypatch):
    """What pip would do in a .venv of its own; returns the commands."""
    asked: list[list[str]] = []
    monkeypatch.setattr(install, "VENV", bare / ".venv")
    monkeypatch.setattr(install, "MACHINE", bare / ".venv" / "machine")
    monkeypatch.setattr(install, "pip", lambda *what, quiet=False: asked.append(["install", *what]) or True)
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: asked.append([str(each) for each in command]))
    return asked


@pytest.mark.parametrize(
    ("build", "installed", "commands"),
    [
        (CUDA_BUILDS[0], "", []),
        (CUDA_BUILDS[0], "2.13.0", []),
        (CUDA_BUILDS[0], "2.13.0+cpu", ["uninstall"]),
        (CUDA_BUILDS[1], "2.13.0+cpu", ["uninstall"]),
        (CPU_BUILD, "", ["install"]),
        (CPU_BUILD, "2.13.0+cpu", []),
        (CPU_BUILD, "2.13.0", []),
    ],
)
def test_another_build_replaces_the_one_for_cpus(environment, monkeypatch, build, installed, commands) -> None:
    version = install.pinned_torch(CPU_BUILD)
    monkeypatch.setattr(install, "installed_torch", lambda: installed.replace("2.13.0", version))
    install.install_torch_for_cpu_or_make_room(build)
    assert [next(word for word in command if "install" in word) for command in environment] == commands


def test_a_driver_that_comes_later_makes_the_stamp_newer(environment, monkeypatch) -> None:
    install.note_machine()
    assert install.MACHINE.read_text() == "driver none, torch for CPU\n"
    os.utime(install.MACHINE, (1, 1))
    install.note_machine()
    assert install.MACHINE.stat().st_mtime == 1  # nothing to install
    monkeypatch.setattr(install, "nvidia_driver", lambda: "580.65.06")
    install.note_machine()
    assert install.MACHINE.read_text() == "driver 580.65.06, torch for CUDA 13\n"
    assert install.MACHINE.stat().st_mtime > 1


def test_make_installs_again_when_the_machine_changed() -> None:
    text = (ROOT / "Makefile").read_text()
    assert ".venv/machine: FORCE\n\t@$(PYTHON) tools/install.py --detect\n" in text
    for target in ("run-installed", "dev-installed"):
        (line,) = [line for line in text.splitlines() if line.startswith(f".venv/{target}:")]
        assert line.endswith(" .venv/machine")


@pytest.mark.parametrize("group", ["run", "dev"])
def test_without_hashes_there_is_one_torch_too(environment, group) -> None:
    install.VENV.mkdir()
    lines = install.plain_requirements(group, CUDA_BUILDS[1]).read_text().splitlines()
    assert [line for line in lines if line.startswith("torch==")] == [f"torch=={install.pinned_torch(CUDA_BUILDS[1])}"]
    assert not [line for line in lines if line.startswith("-r")]
    assert ("pytest" in "\n".join(lines)) == (group == "dev")


def test_torch_is_pinned_exactly_for_each_build() -> None:
    assert {build.requirements: install.pinned_torch(build).count(".") for build in (*CUDA_BUILDS, CPU_BUILD)} == {
        "requirements.txt": 2,
        "requirements-cuda12.txt": 2,
    }


@pytest.mark.parametrize(("unverified", "file"), [("0", "locks/no-deps.txt"), ("1", "requirements-no-deps.txt")])
def test_what_asks_for_too_much_is_installed_without_it(environment, monkeypatch, unverified, file) -> None:
    monkeypatch.setenv("UNVERIFIED", unverified)
    monkeypatch.setattr(install, "nvidia_driver", lambda: "")
    for name in ("installed_torch", "write_command", "note_machine", "install_torch_for_cpu_or_make_room"):
        monkeypatch.setattr(install, name, lambda *_: "")
    monkeypatch.setattr(install, "PYTHON", install.ROOT / "run.py")  # it is there
    install.VENV.mkdir(exist_ok=True)
    assert install.main("run") == 0
    first, last = environment
    assert "--no-deps" not in first
    assert "--no-deps" in last
    assert last[-1] == str(install.ROOT / file)
    assert ("--require-hashes" in last) == (unverified == "0")
