"""`python -m bench.gpu.kit FOLDER`: gather what a bare GPU machine lacks for `bench.gpu.proof`, and print the command.

Such a machine has a driver, Python, and torch for CUDA with numpy, Pillow and safetensors; no network, and none of the
service's packages. pip fetches them for that Python; they travel as one archive, which is half as large as the wheels.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from app.config import ROOT

# Without what they ask for. The pins are those of requirements.txt; pydantic names its core's only version itself.
PINNED = (
    "diffusers",
    "transformers",
    "huggingface_hub",
    "pydantic",
    "ftfy",
    "psutil",
    "peft",
    "accelerate",
    "xformers",
)
FLOATING = ("annotated-types", "typing-inspection", "tokenizers", "wcwidth", "regex")
OPTIONAL = ("torchao", "nvidia-cuda-runtime-cu12")  # float8; what xformers' extension is linked with
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 34, 31, 35)), "manylinux2014_x86_64")
MOST_BYTES = 20_000_000
ARCHIVE, SITE = "site.tar.xz", "/tmp/cyberimage-site"


def pins() -> dict[str, str]:
    """The exact requirements by package."""
    found: dict[str, str] = {}
    for name in ("requirements.txt", "requirements-quantization.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if match := re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^ ;]+)", line):
                found[match[1].lower()] = f"{match[1]}=={match[2]}"
    return found


def command_of(folder: Path) -> str:
    """What to run there, in the checkout's root."""
    unpack = f"python3 -c \"import tarfile; tarfile.open('{folder / ARCHIVE}').extractall('{SITE}', filter='data')\""
    proof = "python3 -m bench.gpu.proof --out ${OUT:-proof} --budget 520"
    return f"{unpack} && PYTHONPATH={SITE}:. PYTHONUNBUFFERED=1 {proof}"


def gather(folder: Path, python: str, *, optional: bool) -> int:
    """Write the archive; returns its bytes."""
    known = pins()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cyberimage-kit-") as name:
        site = Path(name)
        _pip(site, python, [known[each.lower()] for each in (*PINNED, *(OPTIONAL if optional else ()))])
        _pip(site, python, [_pydantic_core(site), *FLOATING])
        with tarfile.open(folder / ARCHIVE, "w:xz", preset=4) as archive:
            for each in sorted(site.iterdir()):
                archive.add(each, each.name)
    return (folder / ARCHIVE).stat().st_size


def _pip(site: Path, python: str, wanted: list[str]) -> None:
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    fixed = ["--no-deps", "--no-compile", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(site), *fixed, *platforms, *wanted]
    subprocess.run(command, check=True)


def _pydantic_core(site: Path) -> str:
    text = next(site.glob("pydantic-*.dist-info/METADATA")).read_text(encoding="utf-8")
    found = re.search(r"Requires-Dist: pydantic[-_]core==([^ ;\n]+)", text)
    return f"pydantic-core=={found[1]}" if found else "pydantic-core"


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when the archive is too large."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.kit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="that of the GPU machine")
    parser.add_argument(
        "--without-optional", action="store_true", help="no torchao, and no CUDA 12 runtime for xformers"
    )
    asked = parser.parse_args(arguments)
    size = gather(asked.folder, asked.python, optional=not asked.without_optional)
    print(f"{asked.folder / ARCHIVE}: {size / 1e6:.1f} MB, of at most {MOST_BYTES / 1e6:.0f} MB")
    print("\nCarry the checkout (builtin/ is not needed) and that folder, and run in the checkout's root:\n")
    print(command_of(asked.folder))
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
