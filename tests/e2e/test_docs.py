"""The commands of docs/PICTURES_IN.md, docs/LORAS.md and docs/CONTROLS.md run unchanged, except for the address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]


def examples(page: str) -> list[str]:
    found = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    assert found
    return found


@pytest.mark.parametrize(
    ("page", "number", "picture", "size"),
    [
        ("PICTURES_IN.md", 0, "night.png", (256, 256)),
        ("PICTURES_IN.md", 1, "inpainted.png", (256, 256)),
        ("LORAS.md", 0, "with_lora.png", (256, 256)),
        ("CONTROLS.md", 0, "unipc.png", (256, 256)),
        ("CONTROLS.md", 1, "house.png", (256, 256)),
        ("CONTROLS.md", 2, "wide.png", (480, 256)),
        ("CONTROLS.md", 3, "large.png", (1024, 1024)),
    ],
)
def test_an_example_gives_its_picture(
    demo_service: Service, tmp_path: Path, page: str, number: int, picture: str, size: tuple[int, int]
) -> None:
    script = examples(page)[number].replace("http://127.0.0.1:5050", str(demo_service.client.base_url).rstrip("/"))
    (tmp_path / "builtin").symlink_to(ROOT / "builtin")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LORAS_DIR": str(demo_service.folder / "models" / "loras"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Image.open(tmp_path / picture) as made:
        assert made.format == "PNG"
        assert made.size == size
