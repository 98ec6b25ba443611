"""The examples of docs/V1.md, docs/CLIENT.md and README.md run unchanged against a running server."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.services.auth.whoami_server import WhoamiServer, user
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "V1.md").read_text()
EXAMPLES = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.M | re.S)
IN_PYTHON = re.findall(r"^```(python)\n(.*?)^```", README + (ROOT / "docs" / "CLIENT.md").read_text(), re.M | re.S)


def run(example: tuple[str, str], service: Service, folder: Path, **secrets: str) -> str:
    """Run an example with our port; returns its output. Fails when the example does."""
    language, text = example
    text = text.replace(":5050/", f":{service.environment['PORT']}/")
    command = ["bash", "-ec", text] if language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **secrets}, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_the_examples_that_matter() -> None:
    assert [language for language, _ in EXAMPLES] == ["bash", "python", "python", "bash", "bash", "python"]
    assert "/api/v1/generate/txt2img" in EXAMPLES[0][1]
    for name in ("prompt", "model_id", "num_inference_steps", "guidance_scale"):
        assert f'"{name}": ' in EXAMPLES[0][1]
    assert "/api/v1/models/load" in EXAMPLES[3][1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_example_runs_as_it_stands(demo_service: Service, tmp_path: Path) -> None:
    run(EXAMPLES[0], demo_service, tmp_path)
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert base64.b64decode(answer["image"]).startswith(b"\x89PNG")
    assert answer["model_id"] == "demo"
    assert " ms" in run(EXAMPLES[1], demo_service, tmp_path)
    assert (tmp_path / "sailboat.png").read_bytes().startswith(b"\x89PNG")
    run(EXAMPLES[2], demo_service, tmp_path)
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(run(EXAMPLES[3], demo_service, tmp_path))["status"] == "already_loaded"
    assert json.loads(run(EXAMPLES[4], demo_service, tmp_path))["status"] == "unloaded"
    assert json.loads(run(EXAMPLES[3], demo_service, tmp_path))["status"] == "loaded"
    assert run(EXAMPLES[5], demo_service, tmp_path).splitlines()[-1].startswith("result")


def test_the_python_client_does_what_its_page_says(demo_service: Service, tmp_path: Path) -> None:
    package = {"PYTHONPATH": str(ROOT), "CYBERIMAGE_URL": f"http://127.0.0.1:{demo_service.environment['PORT']}/"}
    said = [run(example, demo_service, tmp_path, **package) for example in IN_PYTHON]
    assert len(said) == 4
    for file in ("sailboat.png", "circle-0.png", "circle-1.png", "circle.png"):
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")
    assert "99 %" in said[1]
    assert len(json.loads(said[2])) == 2


def run_the_two_curls(service: Service, folder: Path, token: str) -> None:
    """Run with the token; without it both must be refused."""
    for example in (EXAMPLES[3], EXAMPLES[0]):
        bare = example[1].replace("curl -s", "curl -sf")
        with pytest.raises(AssertionError):
            run(("bash", bare), service, folder)
        signed = bare.replace("curl -sf", 'curl -sf -H "Authorization: Bearer $TOKEN"')
        run(("bash", signed), service, folder, TOKEN=token)
    assert json.loads((folder / "answer.json").read_text())["image"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_two_curls_run_with_a_key_too(new_service: MakeService, tmp_path: Path) -> None:
    service = new_service(AUTH_MODE="keys", DEFAULT_MODEL_ID="demo")
    service.start()
    made = subprocess.run(
        [sys.executable, "-m", "app.cli", "keys", "create", "somebody", "--admin"],
        cwd=ROOT,
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    token = re.search(r"\S{30,}", made.stdout)
    assert token is not None, made.stdout
    run_the_two_curls(service, tmp_path, token[0])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_two_curls_run_with_a_token_of_the_hub_too(new_service: MakeService, tmp_path: Path) -> None:
    with WhoamiServer({"hf_of_alice": user("alice")}) as hub:
        service = new_service(
            AUTH_MODE="huggingface", AUTH_ADMINS="alice", HF_ENDPOINT=hub.url, DEFAULT_MODEL_ID="demo"
        )
        service.start()
        run_the_two_curls(service, tmp_path, "hf_of_alice")
        assert hub.asked == 1, "the hub's word is kept for a while"


def test_the_command_of_the_readme_makes_a_picture(new_service: MakeService, tmp_path: Path) -> None:
    line = re.search(r"^\.venv/bin/cyberimage (generate .*)$", README, re.MULTILINE)
    assert line is not None
    service = new_service(DEFAULT_MODEL_ID="demo")
    service.start()
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *shlex.split(line[1])],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CYBERIMAGE_URL": f"http://127.0.0.1:{service.environment['PORT']}",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "circle.png\n"), done.stderr
    with Image.open(tmp_path / "circle.png") as opened:
        assert opened.size == (256, 256)
