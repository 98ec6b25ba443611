"""End to end: a prompt sent by HTTP becomes the same image that a plain diffusers script makes."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.processes import is_gone
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
PROMPT = "a sunset over mountains"


def test_a_prompt_becomes_a_png_that_carries_its_metadata(service: Service) -> None:
    answer = service.client.post("/api/generate", json={"prompt": PROMPT})
    assert answer.status_code == 202
    body = service.completed(answer.json()["job_id"])
    (image,) = body["images"]
    content = service.client.get(image["url"]).content
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (image["width"], image["height"])
        assert picture.text["parameters"].startswith(f"{PROMPT}\nSteps: 3, ")
        manifest = json.loads(picture.text["cyberimage"])
    assert (manifest["prompt"], manifest["settings"]["seed"]) == (PROMPT, image["seed"])
    assert manifest["job_id"] == body["job_id"]
    assert service.client.get(image["metadata_url"]).status_code == 200
    folder = service.folder / "images" / f"{datetime.now(UTC):%Y/%m/%d}"
    assert (folder / f"{image['image_id']}.png").read_bytes() == content
    with Image.open(io.BytesIO(service.client.get(image["thumbnail_url"]).content)) as thumbnail:
        assert thumbnail.format == "WEBP"
    listed = service.client.get("/api/images").json()["images"]
    assert image["image_id"] in [each["image_id"] for each in listed]


def plain_script(folder: Path, family: str, seed: int) -> np.ndarray:
    """The plain diffusers script to compare with."""
    import torch
    from diffusers import FluxPipeline, StableDiffusion3Pipeline

    torch.set_num_threads(1)
    kind = {"flux": FluxPipeline, "sd35": StableDiffusion3Pipeline}[family]
    pipe = kind.from_pretrained(folder / family, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    made = pipe(PROMPT, num_inference_steps=3, guidance_scale=4.0, width=64, height=64, generator=generator)
    return np.asarray(made.images[0])


def test_ten_jobs_alternating_between_two_models_equal_a_plain_script(service: Service, tiny: Path) -> None:
    asked = [("flux" if number % 2 else "sd35", 100 + number) for number in range(10)]
    settings = {"num_inference_steps": 3, "guidance_scale": 4.0, "width": 64, "height": 64}
    jobs = [service.submit(PROMPT, f"tiny-{family}", seed=seed, **settings) for family, seed in asked]
    for job_id, (family, seed) in zip(jobs, asked, strict=True):
        (image,) = service.completed(job_id)["images"]
        assert image["seed"] == seed
        with Image.open(io.BytesIO(service.client.get(image["url"]).content)) as picture:
            pixels = np.asarray(picture)
        assert np.array_equal(pixels, plain_script(tiny, family, seed)), f"{family}, seed {seed}"


def test_the_api_process_never_loads_torch_and_a_killed_worker_comes_back(new_service: MakeService) -> None:
    """The API process stays small; the worker, which has run jobs, has torch."""
    service = new_service()
    service.start()
    service.completed(service.submit(PROMPT, "tiny-flux"))
    workers = {process.pid for process in service.workers()}
    apis = [process for process in service.family() if process.pid not in workers]
    assert any("libtorch" in entry.path for process in service.workers() for entry in process.memory_maps())
    for process in apis:
        assert not any("libtorch" in entry.path for entry in process.memory_maps())
        assert process.memory_info().rss < 200_000_000
    (worker,) = service.workers()
    worker.kill()
    wait_until(lambda: is_gone(worker), "it did not die")
    job_id = service.submit(PROMPT, "tiny-flux")
    body = service.completed(job_id)
    assert body["attempt"] == 1
    (fresh,) = service.workers()
    assert fresh.pid != worker.pid
