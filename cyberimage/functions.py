"""The client's calls as functions, for the server of $CYBERIMAGE_URL (else of this machine) and the key of
$CYBERIMAGE_TOKEN; and `process_queue`, which is a worker."""

from __future__ import annotations

import os
from typing import Any

from cyberimage.client import Client
from cyberimage.models import Job
from cyberimage.protocol import DEFAULT_URL, Image_, Job_


def generate_image(prompt: str, model_id: str | None = None, **fields: Any) -> Job:
    """Submit a job; see Client.generate_image."""
    with _client() as client:
        return client.generate_image(prompt, model_id, **fields)


def get_job_status(job_id: Job_) -> Job:
    with _client() as client:
        return client.get_job_status(job_id)


def get_image(image_id: Image_) -> bytes:
    """The file of a finished image."""
    with _client() as client:
        return client.get_image(image_id)


def process_queue() -> int:
    """Draw, in this process, what waits in the queue of this installation (its `.env` and the environment), and return
    when nothing is left to do now. Returns the number of jobs that were run. Needs the
    server's packages, not only httpx. Beside running workers it takes its share."""
    from app.cli.worker import process_waiting  # torch and all: not for those who only call a server

    return process_waiting()


def _client() -> Client:
    return Client(os.environ.get("CYBERIMAGE_URL") or DEFAULT_URL, os.environ.get("CYBERIMAGE_TOKEN") or None)
