"""Remote models end to end: `run.py` with a local and a remote worker, and a provider that sends webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import models
from tests.e2e.service import Service
from tests.processes import Processes
from tests.providers import media
from tests.providers.replicate_server import SECRET, TOKEN, Script, StandIn, replicate
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("remote service")]


@pytest.fixture(scope="module")
def provider() -> Iterator[StandIn]:
    with replicate() as server:
        yield server


@pytest.fixture(scope="module")
def service(tiny: Path, provider: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("remote")
    processes = Processes(folder)
    settings = {
        "REPLICATE_API_TOKEN": TOKEN,
        "REPLICATE_BASE_URL": provider.url,
        "REPLICATE_WEBHOOK_SECRET": SECRET,
        "MODEL_PAINTER": "painter;acme/painter;A painter;replicate;false",
        "LEASE_SECONDS": "3",
        "HEARTBEAT_SECONDS": "1",
    }
    running = Service(processes, folder, **models(tiny), **settings)
    running.environment["PUBLIC_URL"] = f"http://127.0.0.1:{running.environment['PORT']}"
    try:
        running.start()
        wait_until(lambda: lanes(running)["remote"]["workers"], f"no remote worker: {processes.said()[-3000:]}")
        yield running
    finally:
        processes.close()


def lanes(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/status").json()["lanes"]
    return found


def run(service: Service, model: str = "acme/painter", kind: str = "image", **input: Any) -> str:
    answer = service.client.post(f"/api/run-{kind}-model", json={"model": model, "input": input})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def remote_worker(service: Service) -> psutil.Process:
    (found,) = [process for process in service.workers() if "remote" in process.cmdline()]
    return found


def test_text_to_image_with_native_settings_and_a_webhook(service: Service, provider: StandIn) -> None:
    job_id = service.submit("a remote boat", "painter", num_inference_steps=8)
    body = service.completed(job_id)
    (made,) = provider.created_for("a remote boat")
    assert (made.input["num_inference_steps"], body["remote"]["prediction_id"]) == (8, made.id)
    assert made.webhook is not None
    assert ("GET", f"/v1/predictions/{made.id}") not in provider.asked, "the webhook came first"
    assert service.client.get(body["images"][0]["url"]).headers["Content-Type"] == "image/png"


def test_a_video_by_webhook_from_a_picture_of_the_gallery(service: Service, provider: StandIn) -> None:
    provider.scripts["it sails"] = Script(files=(media.video(),))
    (image,) = service.completed(run(service, prompt="a ship"))["images"]
    job_id = run(service, "acme/clip", "video", prompt="it sails", start_image=image["image_id"])
    (video,) = service.completed(job_id)["images"]
    assert service.client.get(video["url"], headers={"Range": "bytes=4-7"}).content == b"ftyp"
    assert [item["image_id"] for item in service.client.get("/api/videos").json()["images"]] == [video["image_id"]]
    assert list((service.folder / "videos").rglob(f"{video['image_id']}.mp4"))


def test_ten_remote_jobs_run_while_the_local_lane_continues(service: Service, provider: StandIn) -> None:
    hold = threading.Event()
    prompts = [f"held {number}" for number in range(11)]
    provider.scripts |= {prompt: Script(hold=hold) for prompt in prompts}
    jobs = [run(service, prompt=prompt) for prompt in prompts]
    wait_until(lambda: lanes(service)["remote"]["running"] == 10, "not ten at a time")
    wait_until(lambda: sum(map(len, map(provider.created_for, prompts))) == 10, "not all ten were asked for")
    assert lanes(service)["remote"]["waiting"] == 1
    assert service.status(jobs[10])["position"] == 1
    local = service.submit("a local boat", "tiny-flux")
    assert service.status(local)["position"] in (1, None), "no job is before it in its own lane"
    assert service.completed(local)["images"]
    assert lanes(service)["remote"]["running"] == 10, "none of them had to end for it"
    hold.set()
    for job in jobs:
        service.completed(job)
    assert [len(provider.created_for(prompt)) for prompt in prompts] == [1] * 11


def test_a_failure_is_shown_with_its_reason_and_retried(service: Service, provider: StandIn) -> None:
    provider.scripts["a wreck"] = Script(ends="failed", error="NSFW content detected")
    job_id = run(service, prompt="a wreck")
    assert service.ended(job_id)["error"] == {"code": "provider_error", "message": "NSFW content detected"}
    (shown,) = service.client.get("/api/images?status=FAILED").json()["images"]
    assert (shown["job_id"], shown["error"]["message"]) == (job_id, "NSFW content detected")
    del provider.scripts["a wreck"]
    assert service.client.post(f"/api/jobs/{job_id}/retry").status_code == 200
    service.completed(job_id)


def test_a_file_that_is_fetched_at_the_third_attempt(service: Service, provider: StandIn) -> None:
    provider.scripts["stutter"] = Script(fetches=[503, "cut"])
    record = service.client.get(f"/api/images/{service.completed(run(service, prompt='stutter'))['job_id']}").json()
    assert (record["download_attempted"], record["download_retries"], record["download_error"]) == (True, 2, None)
    assert 'cyberimage_remote_download_retries_total{model="painter",provider="replicate"} 2.0' in (
        service.client.get("/metrics").text
    )


def test_a_killed_worker_is_replaced_and_no_prediction_is_created_twice(service: Service, provider: StandIn) -> None:
    hold = threading.Event()
    prompts = [f"orphan {number}" for number in range(3)]
    provider.scripts |= {prompt: Script(hold=hold) for prompt in prompts}
    jobs = [run(service, prompt=prompt) for prompt in prompts]
    wait_until(lambda: all(service.status(job)["remote"]["prediction_id"] for job in jobs), "not all were asked for")
    killed = remote_worker(service)
    killed.kill()
    hold.set()
    for job in jobs:
        body = service.completed(job)
        assert body["attempt"] == 2
    assert remote_worker(service).pid != killed.pid
    assert [len(provider.created_for(prompt)) for prompt in prompts] == [1] * 3
    assert provider.cancels == []


def test_the_token_is_in_no_log_response_or_file(service: Service, provider: StandIn) -> None:
    assert provider.tokens_seen == {None}
    for path in service.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
    for path in ("/status", "/metrics", "/api/queue", "/api/image-models", "/api/models"):
        assert TOKEN not in service.client.get(path).text


def test_the_remote_worker_holds_no_torch(service: Service) -> None:
    assert not [mapped.path for mapped in remote_worker(service).memory_maps() if "libtorch" in mapped.path]
