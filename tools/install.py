"""Make `.venv` and install a requirements file into it. Runs on a bare Python ≥ 3.11; `make` calls it.

Without an NVIDIA GPU the CPU build of torch is preferred where pip can see one, since the usual build brings gigabytes
of CUDA libraries along.
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


def main(requirements: str) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - a bare, possibly older Python runs this
        print(f"CyberImage needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12")
        return 1
    if not PYTHON.exists():
        print("Making .venv …")
        venv.create(VENV, with_pip=True, upgrade_deps=False)
    version = re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if version and not has_gpu() and not has_torch(version[1]) and not pip(f"torch=={version[1]}+cpu", quiet=True):
        print(
            "No CPU-only build of torch was found, so pip takes the usual one, which is large."
            " To use another index: PIP_EXTRA_INDEX_URL=<its address> make run"
        )
    print(f"Installing {requirements} …", flush=True)
    return 0 if pip("-r", str(ROOT / requirements)) else 1


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def has_torch(version: str) -> bool:
    """Whether .venv holds this version of torch, in whatever build."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    shown = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    return shown.split("+")[0] == version


def pip(*what: str, quiet: bool = False) -> bool:
    """Install; returns whether it worked. pip's own complaints are shown unless `quiet`."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    return subprocess.run(command, stderr=subprocess.DEVNULL if quiet else None, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
