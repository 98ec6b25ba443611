"""Each response body, made from a fixed domain object, is the JSON that clients have always got."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from app.api.schemas.images import GalleryItem, ImageMetadata
from app.api.schemas.jobs import Accepted, JobBody, ProgressBody
from app.api.schemas.loras import LoraBody
from app.api.schemas.models import ModelBody
from app.api.schemas.queue import QueueBody, WorkerBody
from app.api.schemas.remote import GenerationBody, RemoteModelsBody, RemoteSchemaBody
from app.api.schemas.server import ChecksBody, CleanupBody, CpuBody, GpuBody, MemoryBody, RequestsBody, StatusBody
from app.api.schemas.session import SessionBody
from app.api.schemas.v1 import ListedModel, ModelLoaded, ModelsUnloaded, Pictures, StillWorking
from app.api.schemas.webhooks import DeliveryBody
from app.config import ROOT
from app.core.job import JobView
from app.core.response_body import ResponseBody
from app.services.job_body import webhook_message
from app.services.ops.stats import Readiness
from app.services.remote.models import Listing
from app.services.urls import with_url_prefix
from tests.api.schemas import objects

GOLDEN = json.loads((ROOT / "tests" / "fixtures" / "response_bodies.json").read_text())
JOBS = {
    name: getattr(objects, name.upper())
    for name in ("pending", "running", "completed", "failed", "remote", "remote_waiting", "translated")
}
# Members that may stand elsewhere in the JSON than they once did; of all other bodies the order is held too.
MOVED = {"lane", "remote"}


def below_a_prefix(make: Callable[[], ResponseBody]) -> ResponseBody:
    with with_url_prefix("/cyber"):
        return make()


BODIES: dict[str, Callable[[], ResponseBody]] = {
    **{f"job {name}": lambda view=view: JobBody.of(view) for name, view in JOBS.items()},
    **{f"remote job {name}": lambda view=view: GenerationBody.of(view) for name, view in JOBS.items()},
    "progress": lambda: ProgressBody.of(objects.RUNNING.job.progress),
    "accepted": lambda: Accepted.of(objects.SUBMISSION),
    "still working": lambda: StillWorking.of(objects.SUBMISSION).model_copy(
        update={"status": objects.RUNNING.job.status, "position": None}
    ),
    "remote models": lambda: RemoteModelsBody.of(objects.LISTING),
    "no remote models": lambda: RemoteModelsBody.of(Listing(())),
    "remote schema": lambda: RemoteSchemaBody.of(objects.REMOTE_MODEL),
    "delivery pending": lambda: DeliveryBody.of(objects.DELIVERY),
    "delivery done": lambda: DeliveryBody.of(objects.DELIVERED),
    "image metadata": lambda: ImageMetadata.of(objects.output()),
    "gallery image": lambda: GalleryItem.of(objects.IMAGE_ITEM),
    "gallery job": lambda: GalleryItem.of(objects.JOB_ITEM),
    "image model": lambda: ModelBody.of(objects.IMAGE_MODEL),
    "video model": lambda: ModelBody.of(objects.VIDEO_MODEL),
    "listed model": lambda: ListedModel.of(objects.IMAGE_MODEL.spec, 5),
    "lora": lambda: LoraBody.of(objects.LORA),
    "unknown lora": lambda: LoraBody.of(objects.UNKNOWN_LORA),
    "worker": lambda: WorkerBody.of(objects.WORKER),
    "able worker": lambda: WorkerBody.of({**objects.WORKER, "can_run": objects.CAPABILITIES}),
    "queue": lambda: QueueBody.of(objects.QUEUE),
    "requests": lambda: RequestsBody.of(objects.RECENT),
    "cleanup": lambda: CleanupBody.read(objects.CLEANUP),
    "loaded": lambda: ModelLoaded.read(objects.LOADED),
    "loading": lambda: ModelLoaded.read(objects.LOADING),
    "unloaded": lambda: ModelsUnloaded.read(objects.UNLOADED),
    "session": lambda: SessionBody.of(objects.IDENTITY, mode="keys"),
    "no session": lambda: SessionBody.of(None, mode="keys"),
    "pictures": lambda: Pictures.of(objects.COMPLETED, ["QUJD", "QUJD"]),
    "no pictures": lambda: Pictures.of(JobView(objects.COMPLETED.job), []),
    "status": lambda: StatusBody.of(
        objects.SUMMARY,
        objects.READING,
        objects.RECENT,
        ChecksBody.of(Readiness({"server": "ok", "disk": "full"})),
        started_at=objects.AT,
        now=objects.AT + 3,
        versions={"python": "3"},
        disk_floor_bytes=10,
    ),
    "job completed below a prefix": lambda: below_a_prefix(lambda: JobBody.of(objects.COMPLETED)),
    "accepted below a prefix": lambda: below_a_prefix(lambda: Accepted.of(objects.SUBMISSION)),
    "remote models below a prefix": lambda: below_a_prefix(lambda: RemoteModelsBody.of(objects.LISTING)),
}


def unmoved(value: object) -> object:
    """`value` with the members that may have moved at the end."""
    if isinstance(value, list):
        return [unmoved(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: unmoved(value[name]) for name in sorted(value, key=lambda name: name if name in MOVED else "")}


def text(value: object) -> str:
    """As JSON, in which 1 and 1.0, and members in another order, are different."""
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_the_json_that_it_always_was(name: str) -> None:
    made = json.loads(text(BODIES[name]().as_dict()))
    assert text(unmoved(made)) == text(unmoved(GOLDEN[name]))


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_valid_by_its_own_class(name: str) -> None:
    body = BODIES[name]()
    assert type(body).model_validate(body.as_dict()).model_dump() == body.as_dict()


@pytest.mark.parametrize("name", JOBS)
def test_a_webhook_message_is_the_json_that_it_always_was(name: str) -> None:
    view = JOBS[name]
    message = webhook_message(JobView(view.job, outputs=view.outputs, prediction=view.prediction))
    assert text(unmoved(json.loads(message))) == text(unmoved(GOLDEN[f"webhook {name}"]))
    assert message == json.dumps(json.loads(message), ensure_ascii=False, separators=(",", ":"))


def test_the_machine_is_described_as_it_always_was() -> None:
    reading = objects.READING
    made = {
        "cpu": CpuBody.of(reading).as_dict(),
        "memory": MemoryBody.of(reading).as_dict(),
        "gpus": [GpuBody.read(gpu).as_dict() for gpu in reading.gpus],
    }
    assert text(made) == text(GOLDEN["machine"])


def test_every_recorded_body_is_made() -> None:
    assert set(GOLDEN) == {*BODIES, *(f"webhook {name}" for name in JOBS), "machine"}
