"""A provider and a clock in this process, for the model-based test: it lies, hangs, repeats, forgets and cuts.

What happens to the calls is taken from `creates`, `calls` and `files`, which the test fills; without a plan they go
well. Time passes only by `advance`, which delivers webhooks and shifts the times in the database.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from app.core.prediction import Report
from app.providers.calls import Busy, Refused, Unreachable
from app.providers.files import FetchFailed
from app.providers.replicate import RemoteModel, report_of
from app.services.context import AppContext
from tests.providers.media import picture
from tests.providers.schemas import document

KEPT_SECONDS = 3600.0
START = 1_800_000_000.0
MODEL = RemoteModel("acme/painter", version="v", document=document({"prompt": {"type": "string"}}))
SEEDED = RemoteModel(
    "acme/sized", version="v", document=document({"prompt": {"type": "string"}, "seed": {"type": "integer"}})
)
T = TypeVar("T")


class Hang(Exception):
    """The call does not return; what it does is done or not."""


@dataclass
class Course:
    """What a prediction does: how it ends after `seconds`, and when its webhooks come, in seconds after its start:
    before its end they report that it runs."""

    seconds: float = 1.0
    ends: str = "succeeded"
    webhooks: tuple[float, ...] = ()


@dataclass
class Truth:
    """A prediction as it really is."""

    number: int
    job_id: str
    input: dict[str, Any]
    webhook: str | None
    started: float
    course: Course
    status: str = "starting"
    ended: float = 0.0

    @property
    def id(self) -> str:
        return f"p{self.number}"

    @property
    def is_over(self) -> bool:
        return self.status in ("succeeded", "failed", "canceled", "aborted")

    @property
    def colour(self) -> tuple[int, int, int]:
        return (self.number % 256, self.number // 256, 77)


@dataclass
class World:
    context: AppContext
    echoes_webhooks: bool = True
    now: float = 0.0
    frozen: bool = False  # files are not deleted any more
    truths: list[Truth] = field(default_factory=list)
    creates: deque[str] = field(default_factory=deque)
    calls: deque[str] = field(default_factory=deque)  # the others
    files: deque[str] = field(default_factory=deque)
    courses: deque[Course] = field(default_factory=deque)
    cancelled: set[str] = field(default_factory=set)  # jobs that were cancelled at some time
    violations: list[str] = field(default_factory=list)
    tick: Callable[[], None] = lambda: None  # what the running job's heartbeat does
    _webhooks: list[tuple[float, int, int]] = field(default_factory=list)

    # --- time

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._webhooks and self._webhooks[0][0] <= until:
            at, number, _ = heapq.heappop(self._webhooks)
            self._pass(max(0.0, at - self.now))
            self.deliver(self.truths[number])
        self._pass(until - self.now)
        self.tick()

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        for truth in self.truths:
            if not truth.is_over and self.now >= truth.started + truth.course.seconds:
                truth.status, truth.ended = truth.course.ends, self.now
        with self.context.database.write(durable=False) as connection:
            connection.exec_driver_sql(
                "UPDATE predictions SET created_at = created_at - ?, ended_at = ended_at - ?", (seconds, seconds)
            )
            connection.exec_driver_sql("UPDATE jobs SET available_at = available_at - ?", (seconds,))

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def time(self) -> float:
        return START + self.now

    def run(self, work: Callable[[], T], check: Callable[[], None]) -> T:
        """`run_interruptibly` without threads."""
        try:
            return work()
        except Hang:
            for _ in range(12):
                self.advance(5.0)
                check()
            raise Unreachable("The provider did not answer in time.", maybe_done=True) from None

    # --- the provider's interface, as app.providers.replicate has it

    def model(self, name: str) -> RemoteModel:
        self._before()
        return SEEDED if name == "acme/sized" else MODEL

    def create(
        self, model: RemoteModel, input: Mapping[str, Any], *, version: str | None, webhook: str | None
    ) -> Report:
        fault = self.creates.popleft() if self.creates else "ok"
        if fault in ("down", "busy"):
            self._raise(fault)
        truth = self._create(dict(input), webhook)
        if fault in ("cut", "hang"):
            self._raise(fault)
        return report_of(self.body(truth) | {"status": "starting", "output": None})

    def _create(self, input: dict[str, Any], webhook: str | None) -> Truth:
        truth = Truth(len(self.truths), self._job_of(webhook), input, webhook, self.now, self._course())
        for other in self.truths:
            wanted = other.job_id == truth.job_id and other.job_id not in self.cancelled
            if wanted and (other.status == "succeeded" or not other.is_over):
                self.violations.append(f"{truth.id} was created although {other.id} is {other.status}")
        self.truths.append(truth)
        for order, after in enumerate(truth.course.webhooks):
            heapq.heappush(self._webhooks, (self.now + after, truth.number, order))
        if 0.0 in truth.course.webhooks:
            self.advance(0.0)  # it comes before the answer
        return truth

    def prediction(self, provider_id: str) -> Report:
        fault = self._before()
        body = self.body(self._find(provider_id))
        return report_of(body | {"status": "processing", "output": None} if fault == "stale" else body)

    def cancel(self, provider_id: str) -> Report:
        fault = self._fault()
        if fault in ("down", "busy", "refused"):
            self._raise(fault)
        truth = self._find(provider_id)
        if not truth.is_over:
            truth.status, truth.ended = "canceled", self.now
        if fault in ("cut", "hang"):
            self._raise(fault)
        return report_of(self.body(truth))

    def newest(self, since: float) -> Iterator[Mapping[str, Any]]:
        self._before()
        for truth in reversed(self.truths):
            if START + truth.started >= since:
                yield self.body(truth)

    def fetch(self, url: str, cancelled: Callable[[], bool]) -> bytes:
        truth = self._find(url.rpartition("/")[2])
        how = self.files.popleft() if self.files else "whole"
        if not self.frozen and self.now - truth.ended > KEPT_SECONDS:
            raise FetchFailed("its host answered 404", gone=True)
        if how == "stall":
            self.advance(15.0)
        if how in ("stall", "503", "404"):
            raise FetchFailed(f"{how}", gone=how == "404")
        content = picture("PNG", 8, truth.colour)
        return {"cut": content[:40], "garbage": b"<html>"}.get(how, content)

    # --- webhooks and plans

    def deliver(self, truth: Truth) -> None:
        """A webhook about it, as it is now."""
        if truth.webhook is not None:
            self.context.predictions.observed("replicate", report_of(self.body(truth)), intent=_intent(truth.webhook))

    def body(self, truth: Truth) -> dict[str, Any]:
        return {
            "id": truth.id,
            "model": None,
            "input": truth.input,
            "status": truth.status,
            "output": [f"https://files.example/{truth.id}"] if truth.status == "succeeded" else None,
            "error": None,
            "created_at": None,
            **({"webhook": truth.webhook} if self.echoes_webhooks else {}),
        }

    def _before(self) -> str:
        """The fault of a call that changes nothing."""
        fault = self._fault()
        if fault not in ("ok", "stale"):
            self._raise(fault)
        return fault

    def _fault(self) -> str:
        return self.calls.popleft() if self.calls else "ok"

    def _raise(self, fault: str) -> None:
        raise {
            "down": Unreachable("The provider cannot be reached.", maybe_done=False),
            "cut": Unreachable("The connection broke.", maybe_done=True),
            "busy": Busy("Too many requests.", 3.0),
            "refused": Refused(404, "Not found."),
            "hang": Hang(),
        }[fault]

    def _course(self) -> Course:
        return self.courses.popleft() if self.courses else Course()

    def _find(self, provider_id: str) -> Truth:
        return self.truths[int(provider_id[1:])]

    def _job_of(self, webhook: str | None) -> str:
        query = "SELECT job_id FROM predictions WHERE id = ?"
        with self.context.database.read() as connection:
            return str(connection.exec_driver_sql(query, (_intent(webhook or ""),)).scalar_one())


def _intent(webhook: str) -> str:
    return parse_qs(urlsplit(webhook).query)["prediction"][0]
