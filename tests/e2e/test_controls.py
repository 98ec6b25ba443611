"""A control picture and a reference through the whole service: drawn, described, drawn again, and without a trace."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.e2e.conftest import STEPS
from tests.e2e.service import Service
from tests.processes import Processes
from tools.tiny_models.auxiliaries import build_controlnet, build_ip_adapter
from tools.tiny_models.build import build
from tools.tiny_models.encoders import CLIP_WIDTH
from tools.tiny_models.lora import make_lora
from tools.tiny_models.sample import picture

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("controlled")
    base = build("sd15", folder)
    net = build_controlnet("sd15", base, folder / "net")
    adapter = build_ip_adapter("sd15", base, folder / "adapter")
    ip = '"kind": "ip-adapter", "family": "sd15", "file": "adapter.safetensors", "image_encoder": "image_encoder"'
    lines = {
        "DEFAULT_MODEL_ID": "tiny",
        "MODEL_T": f"tiny;{base};Tiny;local;false;{STEPS}",
        "MODEL_N": f'edges;{net};Edges;local;false;{{"kind": "controlnet", "family": "sd15"}}',
        "MODEL_A": f"look;{adapter};Look;local;false;{{{ip}}}",
        "LORAS_DIR": str(make_lora(base, folder / "loras" / "warm.safetensors").parent),
        "EMBEDDINGS_DIR": str(folder / "embeddings"),
    }
    (folder / "embeddings").mkdir()
    vectors = torch.randn(2, CLIP_WIDTH, generator=torch.Generator().manual_seed(3))
    save_file({"emb_params": vectors}, folder / "embeddings" / "moody.safetensors")
    processes = Processes(folder)
    running = Service(processes, folder, **lines)
    try:
        running.start()
        yield running
    finally:
        processes.close()


def a_source() -> str:
    buffer = io.BytesIO()
    picture(64, 64).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pixels(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).tobytes()


CONTROL = {"role": "control", "source": a_source(), "processor": "lineart", "weight": 0.8, "end": 0.7}
REFERENCE = {"role": "reference", "source": a_source(), "weight": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "control": {"inputs": [CONTROL]},
    "two controls": {"inputs": [CONTROL, {**CONTROL, "processor": "canny", "weight": 0.4}]},
    "reference": {"inputs": [REFERENCE]},
    "control and reference": {"inputs": [CONTROL, REFERENCE]},
    "embedding": {"prompt": "a lighthouse <moody>"},
    "LoRA and scheduler": {"settings": {"loras": [{"id": "warm", "scale": 0.7}], "scheduler": "DPM++ 2M Karras"}},
    "second pass": {"settings": {"upscale": {"factor": 1.5, "model": "drawings-x2", "strength": 0.6}}},
    "latents": {"settings": {"upscale": {"factor": 1.5, "model": "latent-nearest", "strength": 0.6}}},
    "tiles": {
        "settings": {"upscale": {"factor": 2, "model": "lanczos", "tile": 64, "strength": 0.5}},
        "inputs": [CONTROL],
    },
}


def drawn_image(service: Service, job_id: str) -> tuple[str, bytes]:
    image = service.completed(job_id)["images"][0]
    return image["image_id"], pixels(service.client.get(image["url"]).content)


def test_each_kind_is_the_same_after_a_restart_on_another_worker(controlled: Service) -> None:
    client, first = controlled.client, dict[str, tuple[str, bytes]]()
    for kind, body in KINDS.items():
        sized = {"seed": 3, "width": 64, "height": 64, **body.get("settings", {})}
        answer = client.post("/api/generate", json={"prompt": "a lighthouse", **body, "settings": sized})
        assert answer.status_code == 202, answer.text
        first[kind] = drawn_image(controlled, answer.json()["job_id"])
    assert len({content for _, content in first.values()}) == len(KINDS)  # each has an effect
    before = {worker["id"] for worker in client.get("/status").json()["workers"]}
    controlled.stop()
    controlled.start()
    for kind in reversed(KINDS):  # in another order, on a worker that has drawn other jobs
        again = client.post(f"/api/image/{first[kind][0]}/rerun")
        assert again.status_code == 202, again.text
        assert controlled.completed(again.json()["job_id"])["warnings"] == [], kind
        assert drawn_image(controlled, again.json()["job_id"])[1] == first[kind][1], kind
    after = {worker["id"] for worker in client.get("/status").json()["workers"]}
    assert before.isdisjoint(after)


def test_a_control_and_a_reference(controlled: Service) -> None:
    client, source = controlled.client, a_source()

    def drawn(*inputs: dict) -> tuple[dict, bytes]:
        body = {"prompt": "a lighthouse", "inputs": list(inputs), "settings": {"seed": 3, "width": 64, "height": 64}}
        answer = client.post("/api/generate", json=body)
        assert answer.status_code == 202, answer.text
        status = controlled.completed(answer.json()["job_id"])
        return status, client.get(status["images"][0]["url"]).content

    _, before = drawn()
    control = {"role": "control", "source": source, "processor": "canny", "weight": 0.9}
    status, with_both = drawn(control, {"role": "reference", "source": source, "weight": 0.5})
    _, after = drawn()
    assert pixels(before) == pixels(after)
    assert pixels(before) != pixels(with_both)

    metadata = client.get(status["images"][0]["metadata_url"]).json()["manifest"]
    used = metadata["effective"]["inputs_used"]
    assert [(each["role"], each["model"], each["weight"]) for each in used] == [
        ("control", "edges", 0.9),
        ("reference", "look", 0.5),
    ]
    assert metadata["inputs"]["ctrl"]["processor"] == "canny"
    assert metadata["digital_source_type"].endswith("/compositeWithTrainedAlgorithmicMedia")

    again = client.post(f"/api/image/{status['images'][0]['image_id']}/rerun")
    redrawn = controlled.completed(again.json()["job_id"])
    assert pixels(client.get(redrawn["images"][0]["url"]).content) == pixels(with_both)

    listed = client.get("/api/models").json()
    assert {each["id"] for each in listed["auxiliaries"] if each["loaded"]} == {"edges", "look"}
