"""Clients generated from /openapi.json compile; with them the programs of docs/CLIENTS.md draw, upload, list and read
the code of an error."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.clients.documented import example
from tests.node.packages import require_packages, run_node, run_program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
GENERATOR = ROOT / ".venv" / "client-generator" / "bin"
IMPORT_ALL = """
import importlib, pkgutil, cyberimage_api
for module in pkgutil.walk_packages(cyberimage_api.__path__, "cyberimage_api."):
    importlib.import_module(module.name)
"""
STRICT = {
    "strict": True,
    "target": "es2022",
    "module": "nodenext",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": ["node"],
    "outDir": "out",
}


def run_generator(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the generator's environment."""
    environment = {"PATH": f"{GENERATOR}:{os.environ['PATH']}", "HOME": str(folder)}
    return subprocess.run(
        [str(GENERATOR / command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a program that must have succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(folder: Path, *programs: str) -> None:
    """Compile TypeScript as strictly as there is."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT, "files": programs}))
    check(run_program("tsc", "-p", ".", folder=folder))


def check_drawn(folder: Path, said: str) -> None:
    """The picture is there, the gallery had the changed one, and the refusal its code."""
    with Image.open(folder / "circle.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))
    in_gallery, refusal = said.splitlines()
    assert in_gallery.lower() == "true"
    assert refusal.startswith("unknown_model There is no model 'none'.")


def test_openapi_python_client(folder: Path, url: str) -> None:
    if not GENERATOR.exists():
        pytest.skip("PYTHON CLIENT SKIPPED: openapi-python-client is not installed (tools/install_client_tools.sh)")
    heading = "Python: openapi-python-client"
    (folder / "config.yaml").write_text(example(heading, "yaml"))
    command = example(heading, "sh").split()
    generated = run_generator(*command, folder=folder)
    assert "WARN" not in check(generated) + generated.stderr  # it leaves out what it cannot read
    check(run_generator("python", "-c", IMPORT_ALL, folder=folder))
    check_drawn(folder, check(run_generator("python", "-c", example(heading, "python", url), folder=folder)))


def test_openapi_typescript(folder: Path, url: str) -> None:
    require_packages()
    heading = "TypeScript: openapi-typescript with openapi-fetch"
    check(run_program(*example(heading, "sh").split()[1:], folder=folder))
    (folder / "draw.ts").write_text(example(heading, "ts", url))
    compiled(folder, "draw.ts", "schema.d.ts")
    check_drawn(folder, check(run_node("out/draw.js", folder=folder)))


def test_orval(folder: Path, url: str) -> None:
    require_packages()
    heading = "TypeScript: orval"
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "orval.config.js").write_text(example(heading, "js", url))
    check(run_program(*example(heading, "sh").split()[1:], folder=folder))
    (folder / "draw.ts").write_text(example(heading, "ts", url))
    compiled(folder, "draw.ts")
    check_drawn(folder, check(run_node("out/draw.js", folder=folder)))


def test_redocly_has_nothing_to_say(folder: Path) -> None:
    require_packages()
    said = check(run_program("redocly", "lint", "openapi.json", "--format", "json", folder=folder))
    assert json.loads(said)["problems"] == []


def test_spectral_has_nothing_to_say(folder: Path) -> None:
    require_packages()
    rules = str(ROOT / "tests" / "node" / "spectral.yaml")
    check(run_program("spectral", "lint", "openapi.json", "--ruleset", rules, "-F", "hint", folder=folder))
