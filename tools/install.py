"""Make `.venv` and install what CyberImage runs on into it, or with `dev` also what its tests need. Runs on a bare
Python ≥ 3.11; `make` calls it. `--detect` only notes what this machine has in `.venv/machine`, which `make` compares.

Every package is installed in the version and with one of the hashes in locks/. Which build of torch is decided by the
NVIDIA driver (app/core/torch_builds.py). Without one the CPU build is preferred where pip can find it, since the
default build depends on gigabytes of CUDA libraries; the CPU build is not on the package index, so its hash is not in
the lock files. `UNVERIFIED=1` installs from the requirements files instead, for package indexes with rebuilt files.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MACHINE = VENV / "machine"  # what was detected, so that a GPU or driver that comes later is noticed
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
OLD_NAMES = {file: group for group, file in REQUIREMENTS.items()}  # what people have in their scripts
LOCKS = {"run": ["locks/run.txt"], "dev": ["locks/run.txt", "locks/dev.txt"]}
CUDA_LOCK = "locks/cuda.txt"
NO_DEPS = {"lock": "locks/no-deps.txt", "plain": "requirements-no-deps.txt"}  # without what these packages ask for

WSL_FOLDER = Path("/usr/lib/wsl/lib")  # where Windows' driver shows itself in WSL2
WSL_DEVICE = Path("/dev/dxg")
PROC_FILE = Path("/proc/driver/nvidia/version")
NVIDIA_DEVICE = Path("/dev/nvidiactl")


def main(group: str) -> int:
    group = OLD_NAMES.get(group, group)
    if sys.version_info < (3, 11):  # noqa: UP036 - a bare, possibly older Python runs this
        print(f"CyberImage needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12")
        return 1
    if group == "--detect":
        note_machine()
        return 0
    driver = nvidia_driver()
    build = builds().build_for_driver(driver)
    if remark := remark_about(driver, build):
        print(remark)
    if not PYTHON.exists():
        print("Making .venv …")
        venv.create(VENV, with_pip=True, upgrade_deps=False)
    install_torch_for_cpu_or_make_room(build)
    print(f"Installing {REQUIREMENTS[group]} with torch for {build.name} …", flush=True)
    write_command()
    note_machine()
    if os.environ.get("UNVERIFIED") == "1":
        done = pip("-r", str(plain_requirements(group, build))) and pip("--no-deps", "-r", str(ROOT / NO_DEPS["plain"]))
        return 0 if done else 1
    wanted = [f"--requirement={ROOT / lock}" for lock in locks(group, installed_torch(), build)]
    if pip("--require-hashes", *wanted) and pip("--no-deps", "--require-hashes", "-r", str(ROOT / NO_DEPS["lock"])):
        return 0
    print(
        "If your package index serves other files than locks/ names, install without the check: UNVERIFIED=1 make run"
    )
    return 1


def builds():
    """The table of torch's builds; imported late, because it needs the Python that `main` asks for."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from app.core import torch_builds

    return torch_builds


def install_torch_for_cpu_or_make_room(build) -> None:
    """Install the CPU build if `build` is that, or remove it if `build` is for a GPU: pip takes `2.13.0+cpu` for
    `2.13.0` and would keep it."""
    version, installed = pinned_torch(build), installed_torch()
    if build is not builds().CPU_BUILD:
        if installed.endswith("+cpu"):
            print("Removing the CPU build of torch …")
            subprocess.run([PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", "torch"], check=False)
        return
    if not installed.startswith(version) and not pip("--no-deps", f"torch=={version}+cpu", quiet=True):
        print(
            "No CPU-only build of torch was found, so pip takes the usual one, which is large."
            " To use another index: PIP_EXTRA_INDEX_URL=<its address> make run"
        )


def write_command() -> None:
    """Write `.venv/bin/cyberimage`, which runs this checkout, as an editable install would, without a build."""
    command = PYTHON.parent / "cyberimage"
    command.write_text(
        f"#!{PYTHON}\nimport sys\n\nsys.path.insert(0, {str(ROOT)!r})\nfrom app.cli.main import main\n\n"
        "sys.exit(main())\n"
    )
    command.chmod(0o755)


def locks(group: str, torch: str, build) -> list[str]:
    """The lock files to install from for `build`, given the installed build of torch ('' for none). One with a suffix
    (+cpu, +rocm6.4) needs none of the usual CUDA libraries; the usual one does, also where there is no GPU."""
    cuda = [CUDA_LOCK] if CUDA_LOCK not in build.locks and "+" not in torch and build is builds().CPU_BUILD else []
    wanted = [lock for lock in build.locks if lock != CUDA_LOCK or "+" not in torch]
    return [*LOCKS[group], *wanted, *cuda]


def pinned_torch(build) -> str:
    """The version of torch that the requirements file of `build` pins."""
    found = re.search(r"^torch==(\S+)", (ROOT / build.requirements).read_text(), re.MULTILINE)
    assert found, f"{build.requirements} pins no torch"
    return found[1]


def plain_requirements(group: str, build) -> Path:
    """A requirements file without hashes for `group`, with the torch of `build`; pip refuses two versions of one
    package."""
    names = dict.fromkeys([REQUIREMENTS["run"], REQUIREMENTS[group]])
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines() if not line.startswith("-r")]
    torch = f"torch=={pinned_torch(build)}"
    target = VENV / f"requirements-{group}.txt"
    target.write_text("\n".join(torch if line.startswith("torch==") else line for line in lines) + "\n")
    return target


def remark_about(driver: str, build) -> str:
    """A sentence where a GPU is here but cannot be used; else empty."""
    if driver and build is builds().CPU_BUILD:
        oldest = min(each.least_driver for each in builds().CUDA_BUILDS)
        return f"NVIDIA driver {driver} is too old for any torch: update to {oldest} or newer. Installing for the CPU."
    if driver:
        return ""
    if NVIDIA_DEVICE.exists():
        return "An NVIDIA GPU is here, but its driver does not respond. Restart this machine, then run this again."
    if WSL_DEVICE.exists():
        return "This is WSL2 without NVIDIA's driver. To use an NVIDIA GPU, install its driver in Windows."
    return ""


def nvidia_driver() -> str:
    """The version of the NVIDIA driver, e.g. `580.65.06`; '' without one. WSL2 has only the library and nvidia-smi."""
    return driver_of_nvml() or driver_of_smi() or driver_of_proc()


def driver_of_nvml() -> str:
    for name in ("libnvidia-ml.so.1", str(WSL_FOLDER / "libnvidia-ml.so.1")):
        try:
            nvml = ctypes.CDLL(name)
        except OSError:
            continue
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0:
            return text.value.decode()
    return ""


def driver_of_smi() -> str:
    program = shutil.which("nvidia-smi") or shutil.which(str(WSL_FOLDER / "nvidia-smi"))
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return version_in(shown.stdout.partition("\n")[0]) if shown.returncode == 0 else ""


def driver_of_proc() -> str:
    try:
        return version_in(PROC_FILE.read_text().partition("\n")[0])
    except OSError:
        return ""


def version_in(text: str) -> str:
    """`580.65.06` of nvidia-smi's answer or of the first line of the kernel module's file."""
    found = re.search(r"(?<![\w.])\d{3,}\.\d+(?:\.\d+)?(?![\w.])", text)
    return found[0] if found else ""


def note_machine() -> None:
    """Write what was detected to MACHINE, if it changed: `make` installs again when the file is newer."""
    driver = nvidia_driver()
    text = f"driver {driver or 'none'}, torch for {builds().build_for_driver(driver).name}\n"
    if not MACHINE.exists() or MACHINE.read_text() != text:
        MACHINE.parent.mkdir(exist_ok=True)
        MACHINE.write_text(text)


def installed_torch() -> str:
    """The version of torch in .venv, with its build; '' when there is none."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def pip(*what: str, quiet: bool = False) -> bool:
    """Install; returns whether it succeeded. pip's errors are shown unless `quiet`. Python compiles what is imported,
    a small part of what pip would compile: a quarter of the time of a first `make run`."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *what]
    return subprocess.run(command, stderr=subprocess.DEVNULL if quiet else None, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
