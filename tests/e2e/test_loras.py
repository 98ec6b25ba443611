"""A LoRA in LORAS_DIR changes the next image, and does not affect the one after it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.service import Service
from tools.tiny_models.lora import make_lora

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
Draw = Callable[..., np.ndarray]


@pytest.fixture
def draw(service: Service) -> Draw:
    def run(model_id: str, *loras: dict) -> np.ndarray:
        body = {"prompt": "a red circle on a blue background", "model_id": model_id}
        body["settings"] = {"seed": 3, "num_inference_steps": 6, "loras": list(loras)}
        answer = service.client.post("/api/generate", json=body)
        assert answer.status_code == 202, answer.text
        (image,) = service.completed(answer.json()["job_id"])["images"]
        return np.asarray(Image.open(io.BytesIO(service.client.get(image["url"]).content))).astype(int)

    return run


@pytest.mark.parametrize("model_id", ["tiny-flux", "demo"])
def test_scales_change_the_image_and_without_it_the_bytes_are_the_same(
    service: Service, tiny: Path, draw: Draw, model_id: str
) -> None:
    folder = service.folder / "models" / "loras"
    base = tiny / "flux" if model_id == "tiny-flux" else ROOT / "builtin" / "demo"
    make_lora(base, folder / f"{model_id}-style.safetensors", strength=0.4)
    listed = {lora["id"]: lora for lora in service.client.get("/api/loras").json()["loras"]}
    assert listed[f"{model_id}-style"]["family"] == "FLUX.1"
    assert {"demo", "tiny-flux"} <= set(listed[f"{model_id}-style"]["models"])
    before = draw(model_id)
    half = draw(model_id, {"id": f"{model_id}-style", "scale": 0.5})
    whole = draw(model_id, {"id": f"{model_id}-style", "scale": 1})
    assert 0 < np.abs(half - before).mean() < np.abs(whole - before).mean()
    assert np.abs(half - whole).mean() < np.abs(whole - before).mean()
    assert np.array_equal(draw(model_id), before)
    assert np.array_equal(draw(model_id, {"id": f"{model_id}-style", "scale": 1}), whole)


def test_a_lora_of_other_widths_fails_with_its_code(service: Service, tiny: Path) -> None:
    """Same family by its tensor names: only loading it shows the mismatch."""
    make_lora(tiny / "flux", service.folder / "models" / "loras" / "narrow.safetensors")
    body = {"prompt": "a boat", "model_id": "demo", "settings": {"loras": [{"id": "narrow"}]}}
    answer = service.client.post("/api/generate", json=body).json()
    failed = service.ended(answer["job_id"])
    assert failed["error"]["code"] == "lora_incompatible"
    assert "The LoRA narrow does not fit demo: transformer has" in failed["error"]["message"]
