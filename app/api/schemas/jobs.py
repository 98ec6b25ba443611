"""Jobs and their pictures."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.core.job import JobStatus
from app.core.response_body import Path, ResponseBody
from app.services.job_body import ErrorBody, ImageRef, JobBody, ProgressBody, SignedUrls
from app.services.jobs.submit import Submission
from app.services.urls import url

__all__ = ["Accepted", "AcceptedResponse", "ErrorBody", "ImageRef", "JobBody", "ProgressBody", "SignedUrls"]


class Accepted(ResponseBody):
    job_id: str
    status: JobStatus
    position: int | None = Field(description="1 = served next; null when the job no longer waits.")
    status_url: Path
    events_url: Path
    warnings: list[str] = Field(description="Notes on fields that were changed or ignored.")

    @classmethod
    def of(cls, submitted: Submission) -> Self:
        return cls.read(
            submitted,
            status=JobStatus.PENDING,  # what was accepted, also when the same request is repeated later
            status_url=url(f"/api/status/{submitted.job_id}"),
            events_url=url(f"/api/jobs/{submitted.job_id}/events"),
            warnings=list(submitted.warnings),
        )

    def response(self) -> AcceptedResponse:
        """The 202 of a route that enqueues."""
        return self, 202, {"Location": self.status_url}


AcceptedResponse = tuple[Accepted, int, dict[str, str]]
