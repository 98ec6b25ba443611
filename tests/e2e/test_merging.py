"""Merged jobs in real processes: each is published, cancelled and failed independently of the others."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import models
from tests.e2e.service import Service
from tests.processes import Processes
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]
TOGETHER = 8
SMALL = {"num_inference_steps": 3, "guidance_scale": 4.0, "width": 64, "height": 64}
LONG = {"num_inference_steps": 50, "guidance_scale": 4.0, "width": 256, "height": 256}
LONGER = LONG | {"width": 512, "height": 512}
WORDS = ["a red boat", "one very blue cat on a mat", "x", "trees", "a red boat again", "a sunset", "two moons", "fog"]


@pytest.fixture(scope="module")
def merging(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("merging")
    processes = Processes(folder)
    hurried = {"LEASE_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5"}
    running = Service(processes, folder, **models(tiny), **hurried, MERGE_JOBS=str(TOGETHER))
    try:
        running.start()
        yield running
    finally:
        processes.close()


def submit_while_busy(service: Service, settings: dict[str, Any]) -> Sequence[str]:
    """Eight jobs queued while a ninth runs, so that the worker claims them together."""
    first = service.submit("first", "tiny-flux", **LONGER)
    jobs = [service.submit(words, "tiny-flux", seed=100 + number, **settings) for number, words in enumerate(WORDS)]
    service.completed(first)
    return jobs


def drawn_together(service: Service, image: dict[str, Any]) -> int:
    manifest = service.client.get(image["metadata_url"]).json()["manifest"]
    return int(manifest["effective"].get("drawn_together", 1))


def middle_of_the_call(service: Service, jobs: Sequence[str]) -> None:
    def all_in_work() -> bool:
        seen = [service.status(job_id) for job_id in jobs]
        return all(body["status"] == "PROCESSING" and body["progress"]["step"] > 0 for body in seen)

    wait_until(all_in_work, "they were not drawn together")


def alone(folder: Path, words: str, seed: int) -> np.ndarray:
    """The image that a plain diffusers script makes for one prompt."""
    import torch
    from diffusers import FluxPipeline

    torch.set_num_threads(1)
    pipe = FluxPipeline.from_pretrained(folder / "flux", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    made = pipe(words, **SMALL, generator=torch.Generator("cpu").manual_seed(seed))
    return np.asarray(made.images[0]).astype(int)


def test_each_job_gets_the_image_of_its_own_prompt_and_seed(merging: Service, tiny: Path) -> None:
    jobs = submit_while_busy(merging, SMALL)
    for number, (job_id, words) in enumerate(zip(jobs, WORDS, strict=True)):
        body = merging.completed(job_id)
        (image,) = body["images"]
        assert (body["prompt"], body["attempt"], image["seed"]) == (words, 1, 100 + number)
        assert drawn_together(merging, image) == TOGETHER
        with Image.open(io.BytesIO(merging.client.get(image["url"]).content)) as picture:
            pixels = np.asarray(picture).astype(int)
        assert np.abs(pixels - alone(tiny, words, 100 + number)).max() <= 1  # a rounding


def test_a_cancel_stops_only_its_job(merging: Service) -> None:
    jobs = submit_while_busy(merging, LONG)
    middle_of_the_call(merging, jobs)
    merging.client.post(f"/api/jobs/{jobs[3]}/cancel")
    cancelled = merging.ended(jobs[3])
    assert (cancelled["status"], cancelled["images"]) == ("CANCELLED", [])
    for job_id in (*jobs[:3], *jobs[4:]):
        body = merging.completed(job_id)
        assert (body["attempt"], drawn_together(merging, body["images"][0])) == (1, TOGETHER)


def test_after_a_worker_kill_each_job_runs_alone(merging: Service) -> None:
    jobs = submit_while_busy(merging, LONG)
    middle_of_the_call(merging, jobs)
    (worker,) = merging.workers()
    worker.kill()
    seen = set()
    for job_id in jobs:
        body = merging.completed(job_id)
        (image,) = body["images"]
        assert (body["attempt"], drawn_together(merging, image)) == (2, 1)
        seen.add(image["image_id"])
    listed = [image["image_id"] for image in merging.client.get("/api/images?limit=100").json()["images"]]
    assert len(seen) == TOGETHER
    assert seen <= set(listed)
    assert len(listed) == len(set(listed)) == 3 + 3 * TOGETHER - 1  # and the three that came first; one was cancelled
    files = [path.stem for path in (merging.folder / "images").rglob("*.png")]
    assert sorted(files) == sorted(listed)
