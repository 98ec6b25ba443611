"""A control picture and a reference through the whole service: drawn, described, drawn again, and without a trace."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import STEPS
from tests.e2e.service import Service
from tests.processes import Processes
from tools.tiny_models.auxiliaries import build_controlnet, build_ip_adapter
from tools.tiny_models.build import build
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
    }
    processes = Processes(folder)
    running = Service(processes, folder, **lines)
    try:
        running.start()
        yield running
    finally:
        processes.close()


def test_a_control_and_a_reference(controlled: Service) -> None:
    client = controlled.client
    buffer = io.BytesIO()
    picture(64, 64).save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode()

    def drawn(*inputs: dict) -> tuple[dict, bytes]:
        body = {"prompt": "a lighthouse", "inputs": list(inputs), "settings": {"seed": 3, "width": 64, "height": 64}}
        answer = client.post("/api/generate", json=body)
        assert answer.status_code == 202, answer.text
        status = controlled.completed(answer.json()["job_id"])
        return status, client.get(status["images"][0]["url"]).content

    def pixels(content: bytes) -> bytes:
        return Image.open(io.BytesIO(content)).tobytes()

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
    assert {each["id"]: each["loaded"] for each in listed["auxiliaries"]} == {"edges": True, "look": True}
