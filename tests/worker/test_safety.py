"""Safety filter results in the job, each manifest, the gallery item and the log."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from app.api.schemas.images import GalleryItem
from app.core.job import JobStatus
from app.core.safety import SafetyResult, most_severe
from app.engines.base import Generation
from app.errors import ContentBlocked
from app.services.job_body import JobBody
from app.services.media import gallery
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine
from tests.worker.harness import Harness


class Judged(FakeEngine):
    """Its safety filter finds `results`, one for each picture."""

    def __init__(self, *results: SafetyResult) -> None:
        super().__init__()
        self._results = results

    def generate(self, *args, **more) -> Generation:
        made = super().generate(*args, **more)
        images = [
            dataclasses.replace(image, safety=result) for image, result in zip(made.images, self._results, strict=True)
        ]
        kept = [image for image in images if image.safety is not SafetyResult.BLOCKED]
        if not kept:
            raise ContentBlocked("The safety filter held it back.")
        return dataclasses.replace(made, images=kept, safety=most_severe(self._results))


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the lines about ended jobs say; a job ends a moment before its line is written."""

    def found() -> list[str]:
        return [record.safety_filter_result for record in caplog.records if hasattr(record, "safety_filter_result")]

    wait_until(found, "nothing was logged")
    return found()


def test_the_result_is_reported_everywhere(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness.start(Judged(SafetyResult.PASSED, SafetyResult.BLURRED))
    view = harness.completed(harness.submit(num_images=2))
    body = JobBody.of(view)
    assert body.safety_filter_result == "blurred"
    assert [image.safety_filter_result for image in body.images] == ["passed", "blurred"]
    assert [output.manifest["safety_filter_result"] for output in view.outputs] == ["passed", "blurred"]
    listed = gallery.browse(harness.context, gallery.Filter(), status=JobStatus.COMPLETED, limit=5)
    assert {GalleryItem.of(item).safety_filter_result for item in listed.items} == {"passed", "blurred"}
    assert logged(caplog) == ["blurred"]


def test_a_blocked_image_is_reported_with_the_others(harness: Harness) -> None:
    harness.start(Judged(SafetyResult.PASSED, SafetyResult.BLOCKED))
    view = harness.completed(harness.submit(num_images=2))
    assert [output.safety_filter_result for output in view.outputs] == [SafetyResult.PASSED]
    assert JobBody.of(view).safety_filter_result == "blocked"


def test_a_job_of_which_nothing_was_published(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness.start(Judged(SafetyResult.BLOCKED))
    view = harness.ended(harness.submit())
    assert (view.job.status, view.job.error_code, view.job.attempt) == (JobStatus.FAILED, "content_blocked", 1)
    assert JobBody.of(view).safety_filter_result == "blocked"
    assert logged(caplog) == ["blocked"]
    assert not harness.files()


def test_off_is_skipped(harness: Harness, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness.start(engine)
    job_id = harness.submit()
    assert JobBody.of(harness.view(job_id)).safety_filter_result in (None, "skipped")
    view = harness.completed(job_id)
    assert JobBody.of(view).safety_filter_result == "skipped"
    assert view.outputs[0].manifest["safety_filter_result"] == "skipped"
    assert logged(caplog) == ["skipped"]
