"""The wheel holds all that running needs; installed into an empty environment, it starts, and draws with the built-in
model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from app.config import ROOT
from app.version import __version__
from tests.ports import free_port
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.e2e
SHIPPED = ("app", "builtin", "cyberimage")


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the build backend, without a download, from a copy of what the repository has."""
    folder = tmp_path_factory.mktemp("build")
    copied = folder / "copy"
    for name in tracked(*SHIPPED, "pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copied / name)
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=copied, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / built.stdout.split()[-1]


def test_it_holds_code_page_migrations_and_built_in_models_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == set(tracked(*SHIPPED))
    for name in ("app/templates/index.html", "app/static/js/main.js", "builtin/demo/model_index.json"):
        assert name in held
    assert any(re.fullmatch(r"app/store/migrations/versions/\d+\w+\.py", name) for name in held)


def test_it_asks_for_the_requirements_and_has_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        about = Parser().parsestr(archive.read(metadata).decode())
        commands = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    lines = (line.partition(" #")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    wanted = {str(Requirement(line)) for line in lines if line and not line.startswith("#")}
    assert {str(Requirement(line)) for line in about.get_all("Requires-Dist", [])} == wanted
    assert "cyberimage = app.cli.main:main" in commands


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `cyberimage` of an environment that has the wheel; what it depends on is found where the tests have it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "cyberimage"


def environment(**settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | settings


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--version"], __version__), (["check"], "The configuration is fine.")]
)
def test_the_command_runs_in_an_empty_folder(installed: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run([installed, *arguments], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


@pytest.fixture
def service(installed: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A server that was started with `cyberimage run` in an empty folder, and a client of it."""
    port = free_port()
    settings = environment(
        PORT=str(port),
        WORKERS="1",
        PRELOAD="none",
        DISK_FLOOR_BYTES="0",
        CUDA_VISIBLE_DEVICES="-1",
        OMP_NUM_THREADS="1",
    )
    with (tmp_path / "said.txt").open("wb") as said:
        process = subprocess.Popen([installed, "run"], cwd=tmp_path, env=settings, stdout=said, stderr=said)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield process, client
    process.terminate()
    assert process.wait(PATIENCE) == 0, (tmp_path / "said.txt").read_text()


def test_it_draws_with_the_built_in_model(
    service: tuple[subprocess.Popen[bytes], httpx.Client], tmp_path: Path
) -> None:
    process, client = service
    wait_until(lambda: process.poll() is not None or answers(client), "it did not get ready")
    assert process.poll() is None, (tmp_path / "said.txt").read_text()
    assert "<title>" in client.get("/", headers={"Accept": "text/html"}).text
    body = {"prompt": "a red circle", "settings": {"num_inference_steps": 4}}
    status_url = client.post("/api/generate", json=body).raise_for_status().json()["status_url"]
    wait_until(lambda: client.get(status_url).json()["completed_at"], "the job did not end")
    job = client.get(status_url).json()
    assert job["status"] == "COMPLETED", job["error"]
    assert client.get(job["images"][0]["url"]).headers["Content-Type"] == "image/png"
    assert {"db", "images"} <= {path.name for path in tmp_path.iterdir()}  # it keeps what it makes where it was started


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
