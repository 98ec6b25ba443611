"""Workers with different disks on one queue: each gets what it can run, and a new file is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.assignment import is_left
from app.core.job import JobStatus
from app.core.needs import Needs
from app.core.request import GenerationInput, GenerationSettings, LoraChoice
from app.core.worker_capabilities import Capabilities
from app.files.hub_cache import read_object
from app.services.context import AppContext
from app.services.jobs.submit import submit
from app.services.models.fleet import fleet_of
from app.store.queue.workers import WorkerReport
from app.worker.assignment import Assignment
from app.worker.capability_report import CapabilityReport
from app.worker.refusals import Refusals
from tests.api.native.test_loras import FLUX, safetensors
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


@pytest.fixture
def harness(new_harness: Callable[..., Harness], tmp_path: Path) -> Harness:
    """The API, and workers that share its settings, have the LoRA ink; others have an empty folder."""
    folder, model = tmp_path / "loras", tmp_path / "flux"
    for place in (folder, model, tmp_path / "empty"):
        place.mkdir()
    (folder / "ink.safetensors").write_bytes(safetensors(FLUX))
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    return new_harness(MODEL_FAKE=f"fake;{model};Fake;local;false", LORAS_DIR=str(folder))


def without(harness: Harness) -> AppContext:
    return harness.open(LORAS_DIR=str(harness.folder / "empty"))


def ask(harness: Harness, prompt: str, *loras: str) -> str:
    settings = GenerationSettings(loras=tuple(LoraChoice(id=lora) for lora in loras))
    asked = GenerationInput(prompt=prompt, model_id="fake", settings=settings)
    return submit(harness.context, asked, client_id="alice").job_id


def test_each_worker_runs_what_it_has_the_files_for(harness: Harness) -> None:
    plain, full = FakeEngine(), FakeEngine()
    jobs = [ask(harness, f"{number}", *(["ink"] if number % 2 else [])) for number in range(8)]
    harness.start(plain, without(harness))
    for job_id in jobs[::2]:
        harness.completed(job_id)
    assert [harness.view(job_id).job.status for job_id in jobs[1::2]] == [JobStatus.PENDING] * 4
    assert harness.view(jobs[1]).waits_for == "a worker that has the LoRA ink"
    harness.start(full)
    for job_id in jobs[1::2]:
        harness.completed(job_id)
    assert sorted(plain.ran) == ["0", "2", "4", "6"]
    assert sorted(full.ran) == ["1", "3", "5", "7"]


def test_a_file_that_is_put_there_later_is_noticed(harness: Harness) -> None:
    other = without(harness)
    harness.start(FakeEngine(), other)
    job_id = ask(harness, "with ink", "ink")
    wait_until(lambda: harness.view(job_id).waits_for, "a worker that cannot run it is there")
    source = harness.context.settings.loras_folder / "ink.safetensors"
    (other.settings.loras_folder / "ink.safetensors").write_bytes(source.read_bytes())
    harness.completed(job_id)


def test_what_a_worker_can_run_is_in_the_database_as_long_as_it_lives(harness: Harness) -> None:
    running = harness.start(FakeEngine(), kind="rocm")
    wait_until(lambda: fleet_of(harness.context).workers, "the worker is not there")
    (worker,) = fleet_of(harness.context).workers
    assert worker.capabilities is not None
    assert worker.capabilities.device == "rocm"
    assert "fake" in worker.capabilities.here
    assert worker.capabilities.loras == {"ink": "flux"}
    running.stop()
    fleet = fleet_of(harness.context)
    assert not fleet.workers
    assert [report.loras for report in fleet.gone] == [{"ink": "flux"}]


# --- the report


def test_a_disk_that_cannot_be_read_leaves_the_report_as_it_was() -> None:
    readings: list[Capabilities | OSError] = [Capabilities(device="a"), OSError("away"), Capabilities(device="b")]
    changes: list[None] = []

    def read() -> Capabilities:
        found = readings.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    report = CapabilityReport(read, lambda: changes.append(None))
    assert report.current is None
    seen = []
    for _ in range(3):
        report.update()
        seen.append(report.current and report.current.device)
    assert seen == ["a", "a", "b"]
    assert len(changes) == 2


def test_it_is_read_when_it_is_asked_for() -> None:
    read = threading.Event()

    def reading() -> Capabilities:
        read.set()
        return Capabilities()

    report = CapabilityReport(reading, lambda: None)
    report.start()
    report.ask()
    assert read.wait(30)
    report.stop()
    report.join(30)
    assert not report.is_alive()


# --- the judge


@pytest.fixture
def assignment(harness: Harness) -> Assignment:
    report = CapabilityReport(lambda: Capabilities(here=frozenset({"fake"})), lambda: None)
    report.update()
    return Assignment(harness.context, "w1", "local", report)


def beat(harness: Harness, id: str, **values: object) -> None:
    can = Capabilities(here=frozenset({"fake"}))
    loaded = [{"model_id": "fake"}]
    values = {"capabilities": can, "models": loaded, "device_id": id} | values
    harness.context.workers.heartbeat(WorkerReport(id, "far", 1, "cpu", **values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "to idle"),
        ({"models": []}, "none"),
        ({"models": [{"model_id": "fake", "parked": True}]}, "none"),
        ({"state": "draining"}, "none"),
        ({"state": "starting"}, "none"),
        ({"state": "unhealthy", "slots": 0}, "none"),
        ({"lane": "remote"}, "none"),
        ({"capabilities": None}, "none"),
    ],
)
def test_an_idle_worker_with_the_model_loaded_goes_first(
    harness: Harness, assignment: Assignment, values: dict[str, object], expected: str
) -> None:
    beat(harness, "w2", **values)
    judge = assignment.judge([])
    assert judge is not None
    assert judge(Needs("fake")) == expected
    loaded = assignment.judge(["fake"])
    assert loaded is not None
    assert loaded(Needs("fake")) == "none", "it has it itself"


def test_one_that_is_busy_by_the_queue_is_not_waited_for(harness: Harness, assignment: Assignment) -> None:
    beat(harness, "w2")
    harness.submit()
    assert harness.context.claims.claim("w2") is not None
    judge = assignment.judge([])
    assert judge is not None
    assert judge(Needs("fake")) == "none"


def test_models_that_the_device_refused_are_left_to_others(harness: Harness, assignment: Assignment) -> None:
    judge = assignment.judge(["fake"], left={"fake": [Capabilities(here=frozenset(["fake"]))]})
    assert judge is not None
    assert judge(Needs("fake")) is None
    unread = Assignment(harness.context, "w1", "local", CapabilityReport(Capabilities, lambda: None))
    assert unread.judge([]) is None, "it takes all"
    only_refused = unread.judge([], left={"fake": [Capabilities(here=frozenset(["fake"]))]})
    assert only_refused is not None
    assert (only_refused(Needs("fake")), only_refused(Needs("other"))) == (None, "none")


def test_what_the_others_cannot_run_is_not_left_to_them(harness: Harness, assignment: Assignment) -> None:
    """Such a job would go round for ever: refused here, and given to nobody else."""
    without = {"fake": [Capabilities(here=frozenset(["other"]))]}
    judge = assignment.judge(["fake"], left=without)
    assert judge is not None
    assert judge(Needs("fake")) == "none"


@pytest.mark.parametrize(("there", "left"), [("fake", True), ("other", False)])
def test_a_refused_job_is_given_back_only_where_another_worker_can_run_it(
    harness: Harness, there: str, left: bool
) -> None:
    beat(harness, "w2", device_id="cuda:0", capabilities=Capabilities(here=frozenset([there])))
    refusals = Refusals(harness.context, "cuda:0")
    assert refusals.add(Needs("fake")) is left
    assert bool(refusals.left()) is True, "that worker has not refused it"
    assert is_left(Needs("fake"), refusals.left()) is left
    assert not is_left(Needs("fake", loras=("style",)), refusals.left()), "it has no such LoRA"


def test_no_file_ends_the_thread_that_reads_them(caplog: pytest.LogCaptureFixture) -> None:
    def read() -> Capabilities:
        raise RecursionError

    report = CapabilityReport(read, lambda: None)
    report.update()
    assert report.current is None
    assert "is not reported anew" in caplog.text


def test_json_that_nests_too_deep_and_what_is_no_file_are_no_object(tmp_path: Path) -> None:
    deep = tmp_path / "model_index.json"
    deep.write_text("[" * 100_000)
    assert read_object(deep) == {}
    assert read_object(tmp_path) == {}
