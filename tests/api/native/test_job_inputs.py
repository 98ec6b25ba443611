"""The input pictures of a job can be had again: to use them, or to draw on their mask."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from app import create_app
from tests.api.native.keyed import Keyed

MODEL = (
    'tiny;/none;Tiny;local;false;{"tasks": ["txt2img", "img2img", "inpaint"], "defaults": {"width": 64, "height": 64},'
    ' "limits": {"min_width": 32, "min_height": 32, "max_width": 128, "max_height": 128}}'
)


def a_picture(colour: int, mode: str = "RGB") -> str:
    file = io.BytesIO()
    Image.new(mode, (96, 48), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def keyed(settings_in, tmp_path):
    lines = {"MODEL_T": MODEL}
    app = create_app(settings_in(tmp_path, auth_mode="keys", model_lines=lines, default_model_id="tiny"))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


def test_picture_and_mask_as_the_job_uses_them(keyed, problem):
    body = {"prompt": "x", "image": a_picture(0x203040), "mask": a_picture(255, "L"), "settings": {"strength": 0.9}}
    job = keyed.alice.post("/api/generate", json=body).json["job_id"]
    sizes = set()
    for slot in ("image", "mask"):
        answer = keyed.alice.get(f"/api/jobs/{job}/inputs/{slot}")
        assert (answer.status_code, answer.mimetype) == (200, "image/png")
        sizes.add(Image.open(io.BytesIO(answer.data)).size)
    assert len(sizes) == 1
    mask = Image.open(io.BytesIO(answer.data)).convert("L")
    assert mask.getextrema() == (255, 255)
    problem(keyed.alice.get(f"/api/jobs/{job}/inputs/control"), 404, "image_not_found")
    problem(keyed.bob.get(f"/api/jobs/{job}/inputs/mask"), 404, "job_not_found")
    problem(keyed.alice.get(f"/api/jobs/{'0' * 32}/inputs/mask"), 404, "job_not_found")
    assert keyed.root.get(f"/api/jobs/{job}/inputs/mask").status_code == 200
