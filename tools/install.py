"""Make `.venv` and install what CyberImage runs on into it, or with `dev` also what its tests need. Runs on a bare
Python ≥ 3.11; `make` calls it.

Every package is installed in the version and with one of the hashes in locks/. Without an NVIDIA GPU the CPU build of
torch is preferred where pip can find one, since the default build depends on gigabytes of CUDA libraries; the CPU build
is not on the package index, so its hash is not in the lock files. `UNVERIFIED=1` installs from the requirements files
instead, for package indexes with rebuilt files.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
OLD_NAMES = {file: group for group, file in REQUIREMENTS.items()}  # what people have in their scripts
LOCKS = {"run": ["locks/run.txt"], "dev": ["locks/run.txt", "locks/dev.txt"]}
CUDA_LOCK = "locks/cuda.txt"


def main(group: str) -> int:
    group = OLD_NAMES.get(group, group)
    if sys.version_info < (3, 11):  # noqa: UP036 - a bare, possibly older Python runs this
        print(f"CyberImage needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12")
        return 1
    if not PYTHON.exists():
        print("Making .venv …")
        venv.create(VENV, with_pip=True, upgrade_deps=False)
    version = re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    wants_cpu_build = version and not has_gpu() and not installed_torch().startswith(version[1])
    if version and wants_cpu_build and not pip(f"torch=={version[1]}+cpu", quiet=True):
        print(
            "No CPU-only build of torch was found, so pip takes the usual one, which is large."
            " To use another index: PIP_EXTRA_INDEX_URL=<its address> make run"
        )
    print(f"Installing {REQUIREMENTS[group]} …", flush=True)
    write_command()
    if os.environ.get("UNVERIFIED") == "1":
        return 0 if pip("-r", str(ROOT / REQUIREMENTS[group])) else 1
    if pip("--require-hashes", *(f"--requirement={ROOT / lock}" for lock in locks(group, installed_torch()))):
        return 0
    print(
        "If your package index serves other files than locks/ names, install without the check: UNVERIFIED=1 make run"
    )
    return 1


def write_command() -> None:
    """Write `.venv/bin/cyberimage`, which runs this checkout, as an editable install would, without a build."""
    command = PYTHON.parent / "cyberimage"
    command.write_text(
        f"#!{PYTHON}\nimport sys\n\nsys.path.insert(0, {str(ROOT)!r})\nfrom app.cli.main import main\n\n"
        "sys.exit(main())\n"
    )
    command.chmod(0o755)


def locks(group: str, torch: str) -> list[str]:
    """The lock files to install from, given the installed build of torch ('' for none)."""
    return LOCKS[group] + ([] if torch.endswith("+cpu") else [CUDA_LOCK])


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def installed_torch() -> str:
    """The version of torch in .venv, with its build; '' when there is none."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def pip(*what: str, quiet: bool = False) -> bool:
    """Install; returns whether it succeeded. pip's errors are shown unless `quiet`."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    return subprocess.run(command, stderr=subprocess.DEVNULL if quiet else None, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
