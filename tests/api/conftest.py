"""An application on an empty SQLite database, and a stand-in for the worker that makes small real pictures."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from app import create_app
from app.config import Settings, load_settings
from app.core.job import Claim, Phase, Progress
from app.errors import OutOfMemory
from app.services.context import AppContext
from app.services.media.publish import GenerationResult, Picture, publish
from tests.waiting import PATIENCE, wait_until


@pytest.fixture(scope="session")
def settings_in(migrated_sqlite: Path) -> Callable[..., Settings]:
    """Settings of an installation in a folder, nothing read from the environment."""

    def make(folder: Path, **overrides) -> Settings:
        if folder.is_dir() and not (folder / "db.sqlite").exists():
            shutil.copy(migrated_sqlite, folder / "db.sqlite")
        places = {
            "database_url": f"sqlite:///{folder}/db.sqlite",
            "images_dir": folder / "images",
            "videos_dir": folder / "videos",
        }
        return load_settings({}, None, **{**places, "disk_floor_bytes": 0, **overrides})

    return make


@pytest.fixture
def app(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def context(app) -> AppContext:
    return app.extensions["cyberimage"].context


@pytest.fixture
def client(app) -> FlaskClient:
    return app.test_client()


@dataclass
class Worker:
    """Does to the queue what a worker process does, step by step and at the test's command."""

    context: AppContext

    def claim(self) -> Claim:
        claim = self.context.claims.claim("worker-1")
        assert claim is not None
        return claim

    def progress(self, claim: Claim, step: int) -> None:
        self.context.claims.progress(claim, Progress(Phase.GENERATING, step, claim.request.num_inference_steps))
        self.context.notifications.publish("news", claim.job_id)

    def finish(self, claim: Claim | None = None, effective: dict[str, Any] | None = None) -> list[str]:
        """Publish the pictures of `claim`, or of the next job, with `effective` arguments; gives the image ids."""
        claim = claim or self.claim()
        pictures = [
            Picture(np.full((48, 64, 3), 40 * index, np.uint8), claim.request.seed + index)
            for index in range(claim.request.num_images)
        ]
        outputs = publish(
            self.context, claim, GenerationResult(pictures, effective or {}, {"diffusers": "0"}, {"generate": 0.5})
        )
        return [output.id for output in outputs]

    def fail(self, claim: Claim | None = None) -> None:
        claim = claim or self.claim()
        self.context.claims.fail(claim, OutOfMemory("Not enough memory; choose a smaller size."))
        self.context.notifications.publish("news", claim.job_id)


@pytest.fixture
def worker(context) -> Worker:
    return Worker(context)


@pytest.fixture
def next_job(worker, context):
    """`with next_job(worker.finish):` does that, on a thread, to the job that is submitted within."""

    @contextmanager
    def deal_with(how: Callable[[], object]) -> Iterator[None]:
        def work() -> None:
            wait_until(context.jobs.count_pending, "nothing was submitted")
            how()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE)

    return deal_with


@pytest.fixture
def submit(client):
    """Send a prompt that must be accepted; gives the job's id."""

    def send(prompt: str = "a red fox", **more) -> str:
        answer = client.post("/api/generate", json={"prompt": prompt, **more})
        assert answer.status_code == 202, answer.text
        return answer.json["job_id"]

    return send


@pytest.fixture
def problem():
    """Checks that a response is a problem document with this status and code, and gives the document."""

    def check(response, status: int, code: str) -> dict:
        assert response.status_code == status, response.text
        assert response.mimetype == "application/problem+json"
        body = response.get_json(force=True)
        assert set(body) == {"type", "title", "status", "detail", "code", "request_id", "errors"}
        assert (body["status"], body["code"]) == (status, code), body
        assert body["request_id"] == response.headers["X-Request-Id"]
        assert "Traceback" not in response.text
        return body

    return check
