"""Videos end to end: a prompt, or a gallery image, becomes an MP4 of the tiny LTX-Video."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from app.files.media import read_video_manifest
from tests.e2e.conftest import models
from tests.e2e.service import Service
from tests.e2e.test_docs import examples
from tests.processes import Processes
from tests.waiting import wait_until
from tools.tiny_models.build import build

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("service")]

OPTIONS = '{"media": "video", "steps": {"min": 1, "max": 1000, "default": 3}, "defaults": {"width": 96, "height": 64}}'
SIZE = {"width": 96, "height": 64, "num_frames": 17, "fps": 8}
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@pytest.fixture(scope="module")
def service(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a tiny FLUX, a tiny LTX-Video, and a tiny Wan that needs a picture."""
    folder = tmp_path_factory.mktemp("service")
    lines = {
        "MODEL_LTX": f"tiny-ltx;{build('ltx', folder)};Tiny LTX;local;false;{OPTIONS}",
        "MODEL_WAN": f"tiny-wan-i2v;{build('wan-i2v', folder)};Tiny Wan;local;false;{OPTIONS}",
    }
    processes = Processes(folder)
    running = Service(processes, folder, MAX_STEPS="1000", **models(tiny), **lines)
    try:
        running.start()
        yield running
    finally:
        processes.close()


def send(service: Service, status: int = 202, **body: Any) -> dict[str, Any]:
    answer = service.client.post("/api/generate", json={"prompt": "waves roll in", **body})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def film(service: Service, **body: Any) -> dict[str, Any]:
    return service.completed(
        send(service, **{"model_id": "tiny-ltx", "settings": SIZE | {"seed": 4}, **body})["job_id"]
    )


def of(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    (video,) = body["images"]
    return dict(service.client.get(video["metadata_url"]).json())


def test_a_prompt_becomes_a_video_that_decodes(service: Service) -> None:
    done = film(service)
    (video,) = done["images"]
    assert (video["media"], video["mime_type"], video["width"], video["height"]) == ("video", "video/mp4", 96, 64)
    assert (done["task"], done["lane"], done["progress"]["step"], done["progress"]["total_steps"]) == (
        *("txt2video", "local"),
        *(3, 3),
    )
    assert {name: done["settings"][name] for name in SIZE} == SIZE
    content = service.client.get(video["url"]).content
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 8)
        assert [(frame.width, frame.height) for frame in container.decode(stream)] == [(96, 64)] * 17
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"trainedAlgorithmicMedia" in content[content.index(XMP_BOX) :]
    (file,) = (service.folder / "videos").rglob(f"{video['image_id']}.mp4")
    inside = read_video_manifest(str(file))
    manifest = of(service, done)["manifest"]
    assert inside == manifest
    assert manifest["video"] == {"seconds": 17 / 8, "fps": 8}
    assert (manifest["effective"]["num_frames"], manifest["effective"]["steps_run"], manifest["settings"]["fps"]) == (
        17,
        3,
        8,
    )
    assert manifest["versions"]["pipeline"] == "LTXPipeline"
    poster = Image.open(io.BytesIO(service.client.get(video["thumbnail_url"]).content))
    assert (poster.format, poster.size) == ("WEBP", (96, 64))


def test_a_video_is_in_the_gallery_and_supports_ranges(service: Service) -> None:
    (video,) = film(service)["images"]
    assert video["image_id"] in [one["image_id"] for one in service.client.get("/api/videos").json()["images"]]
    whole = service.client.get(video["url"]).content
    part = service.client.get(video["url"], headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole[100:300])
    assert part.headers["Content-Range"] == f"bytes 100-299/{len(whole)}"
    rest = service.client.get(video["url"], headers={"Range": f"bytes={len(whole) - 7}-"})
    assert rest.content == whole[-7:]


def test_a_picture_of_the_gallery_becomes_a_video_and_again(service: Service) -> None:
    settings = {"width": 96, "height": 64, "seed": 5}
    (still,) = service.completed(service.submit("a boat", "tiny-flux", **settings))["images"]
    done = film(service, image=still["image_id"])
    assert done["task"] == "img2video"
    manifest = of(service, done)["manifest"]
    assert manifest["inputs"]["image"] == {
        "image_id": still["image_id"],
        "sha256": still["sha256"],
        "width": 96,
        "height": 64,
    }
    assert manifest["versions"]["pipeline"] == "LTXImageToVideoPipeline"
    assert manifest["digital_source_type"].endswith("compositeWithTrainedAlgorithmicMedia")
    (video,) = done["images"]
    again = service.client.post(f"/api/image/{video['image_id']}/rerun")
    assert again.status_code == 202, again.text
    repeated = service.completed(again.json()["job_id"])
    assert repeated["warnings"] == []
    assert frames(service, repeated).tobytes() == frames(service, done).tobytes()
    assert of(service, repeated)["manifest"]["rerun_of"] == video["image_id"]
    other = film(service, image=still["image_id"], settings=SIZE | {"seed": 6})
    assert frames(service, other).tobytes() != frames(service, done).tobytes()


def frames(service: Service, body: dict[str, Any]) -> np.ndarray:
    (video,) = body["images"]
    with av.open(io.BytesIO(service.client.get(video["url"]).content)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_cancel_midway_ends_it(service: Service) -> None:
    long = send(service, model_id="tiny-ltx", settings=SIZE | {"num_inference_steps": 1000})["job_id"]
    wait_until(lambda: service.status(long)["progress"]["step"] > 0, "it was never begun")
    assert service.client.post(f"/api/jobs/{long}/cancel").status_code == 200
    ended = service.ended(long)
    assert (ended["status"], ended["images"]) == ("CANCELLED", [])
    assert 0 < ended["progress"]["step"] < 1000
    assert film(service)["images"]


def test_the_tasks_of_each_video_model_are_listed(service: Service) -> None:
    models = {model["id"]: model for model in service.client.get("/api/models").json()["models"]}
    ltx, wan = models["tiny-ltx"], models["tiny-wan-i2v"]
    assert (ltx["media"], ltx["lane"], ltx["tasks"]) == ("video", "local", ["txt2video", "img2video"])
    assert wan["tasks"] == ["img2video"]
    assert (ltx["limits"]["multiple_of"], ltx["limits"]["frame_step"], ltx["limits"]["max_frames"]) == (32, 8, 257)
    assert (ltx["defaults"]["num_frames"], ltx["defaults"]["fps"], wan["defaults"]["num_frames"]) == (161, 25, 81)
    assert (models["tiny-flux"]["media"], models["tiny-flux"]["lane"]) == ("image", "local")
    assert {"num_frames", "max_frames"}.isdisjoint({**models["tiny-flux"]["defaults"], **models["tiny-flux"]["limits"]})


@pytest.mark.parametrize(("number", "name", "count"), [(0, "waves.mp4", 97), (1, "clouds.mp4", 25)])
def test_the_examples_of_the_page_about_videos_work(
    service: Service, tmp_path: Path, number: int, name: str, count: int
) -> None:
    address = str(service.client.base_url).rstrip("/")
    script = examples("VIDEOS.md")[number].replace("http://127.0.0.1:5050", address).replace('"ltx"', '"tiny-ltx"')
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=120)
    with av.open(str(tmp_path / name)) as container:
        assert len(list(container.decode(video=0))) == count
    if number == 0:
        assert (tmp_path / "beginning").read_bytes() == (tmp_path / name).read_bytes()[:1024]


def test_invalid_video_requests_are_refused_before_they_are_stored(service: Service) -> None:
    refused = send(service, 400, model_id="tiny-ltx", settings={**SIZE, "num_frames": 16})
    assert [error["field"] for error in refused["errors"]] == ["settings.num_frames"]
    assert "one more than a multiple of 8, such as 9" in refused["detail"]
    refused = send(service, 400, model_id="tiny-ltx", settings={**SIZE, "width": 80, "fps": 61})
    assert [error["field"] for error in refused["errors"]] == ["settings.width", "settings.fps"]
    refused = send(service, 400, model_id="tiny-wan-i2v", settings=SIZE)
    assert (refused["code"], "it needs an image" in refused["detail"]) == ("unsupported_task", True)
