"""End to end, with an S3 server: the built-in model draws, the picture goes to the bucket and comes back from there."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.config import ROOT
from tests.e2e.service import Service
from tests.processes import Processes
from tests.s3_service import S3Server, client

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def service(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Service]:
    processes = Processes(tmp_path)
    running = Service(processes, tmp_path, **s3_server.environment(bucket))
    try:
        running.start()
        yield running
    finally:
        processes.close()


def run(service: Service, *command: str) -> subprocess.CompletedProcess[str]:
    environment = service.environment | {"PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_a_picture_from_the_prompt_to_its_end(service: Service, s3_server: S3Server, bucket: str) -> None:
    answer = service.client.post("/api/generate", json={"prompt": "a red fox"})
    body = service.completed(answer.json()["job_id"])
    (image,) = body["images"]
    content = service.client.get(image["url"])
    assert content.headers["etag"] == f'"{hashlib.sha256(content.content).hexdigest()}"'
    Image.open(io.BytesIO(content.content)).load()
    thumbnail = service.client.get(image["thumbnail_url"])
    assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"
    keys = s3_server.keys(bucket)
    assert len(keys) == 2
    assert client(s3_server.url).get_object(Bucket=bucket, Key=keys[0])["Body"].read() == content.content
    assert not any(path.is_file() for path in (service.folder / "images").rglob("*"))
    assert service.client.delete(f"/api/image/{image['image_id']}").status_code == 204
    assert s3_server.keys(bucket) == []
    cleaned = run(service, "cleanup", "--json")
    assert cleaned.returncode == 0, cleaned.stderr


def test_a_start_is_refused_for_a_bucket_that_is_not_there(tmp_path: Path, s3_server: S3Server) -> None:
    processes = Processes(tmp_path)
    service = Service(processes, tmp_path, **s3_server.environment("no-such-bucket"))
    try:
        started = processes.start("run.py", **service.environment)
        assert started.wait(60) == 2
        assert "the media store has no such bucket; create it, or correct MEDIA_STORE" in processes.said()
    finally:
        processes.close()
