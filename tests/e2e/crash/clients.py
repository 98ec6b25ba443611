"""Clients of a crash test: send jobs until each is acknowledged, and record every response."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")
RETRY_SECONDS = 0.1


@dataclass
class Asked:
    """A job as recorded by its client. `job_id` is None until it was acknowledged; `terminal` is the first terminal
    status that was seen, with its image ids."""

    key: str
    num_images: int
    job_id: str | None = None
    cancel_asked: bool = False
    terminal: tuple[str, tuple[str, ...]] | None = None


@dataclass
class Memory:
    """The responses to all clients. `wrong` describes responses that must never occur."""

    asked: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)  # of requests, all of them repeated

    def acknowledged(self) -> list[Asked]:
        return [each for each in self.asked if each.job_id is not None]


class Client(threading.Thread):
    """Sends about `per_second` jobs a second to `url`, none while `sated`; cancels some, sends some again, asks after
    some."""

    def __init__(self, url: str, memory: Memory, per_second: float) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=5.0)
        self._memory = memory
        self._pause = 1.0 / per_second
        self._mine: list[Asked] = []
        self._stopping = threading.Event()
        self.sated = False

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self._one_round()
            self._stopping.wait(self._pause * random.uniform(0.5, 1.5) - (time.monotonic() - started))

    def _one_round(self) -> None:
        if self.sated and self._mine:
            self._ask_after(random.choice(self._mine))
            return
        asked = Asked(uuid.uuid4().hex, num_images=random.choice((1, 1, 2)))
        self._mine.append(asked)
        self._memory.asked.append(asked)
        self._submit(asked)
        if random.random() < 0.1:
            self._submit(asked)  # as if the answer had been lost
        if random.random() < 0.05:
            asked.cancel_asked = True
            self._request("POST", f"/api/jobs/{asked.job_id}/cancel")
        self._ask_after(random.choice(self._mine))

    def _submit(self, asked: Asked) -> None:
        body = {"prompt": "a boat", "settings": {"num_images": asked.num_images}}
        while not self._stopping.is_set():
            answer = self._request("POST", "/api/generate", json=body, headers={"Idempotency-Key": asked.key})
            if answer is not None and answer.status_code == 202:
                job_id = answer.json()["job_id"]
                if asked.job_id not in (None, job_id):
                    self._memory.wrong.append(f"one key gave the jobs {asked.job_id} and {job_id}")
                asked.job_id = job_id
                return
            self._stopping.wait(RETRY_SECONDS)

    def _ask_after(self, asked: Asked) -> None:
        if asked.job_id is None:
            return
        answer = self._request("GET", f"/api/status/{asked.job_id}")
        if answer is None or answer.status_code >= 500:
            return
        if answer.status_code != 200:
            self._memory.wrong.append(f"{asked.job_id} was acknowledged and answers {answer.status_code}")
            return
        self._compare(asked, answer.json())

    def _compare(self, asked: Asked, body: dict[str, Any]) -> None:
        now = (body["status"], tuple(image["image_id"] for image in body["images"]))
        if asked.terminal is not None and now != asked.terminal:
            self._memory.wrong.append(f"{asked.job_id} was {asked.terminal} and became {now}")
        if now[0] in TERMINAL:
            asked.terminal = now

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The response; None when there was none. Server errors are counted, and must never be `internal`."""
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            self._memory.failures[type(error).__name__] += 1
            return None
        if answer.status_code >= 500:
            code = str(answer.json().get("code"))
            self._memory.failures[code] += 1
            if code == "internal":
                self._memory.wrong.append(f"{method} {path} answered `internal`")
        return answer
