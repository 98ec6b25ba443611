"""Change one's mind about a job: cancel it, or try it again."""

from __future__ import annotations

from app.services.installation import Installation
from app.services.status import JobView, view_of


def cancel(installation: Installation, job_id: str) -> JobView:
    """A waiting job is CANCELLED at once; a running one stops at its next step. Raises JobNotFound, Gone, Conflict."""
    return _changed(installation, view_of(installation, installation.jobs.cancel(job_id)))


def retry(installation: Installation, job_id: str) -> JobView:
    """A FAILED or CANCELLED job goes back in line, with fresh attempts. Raises JobNotFound, Gone, Conflict."""
    job = installation.jobs.retry(job_id, max_attempts=installation.settings.max_attempts)
    return _changed(installation, view_of(installation, job))


def _changed(installation: Installation, view: JobView) -> JobView:
    installation.bell.ring("work")
    installation.bell.ring("news", view.job.id)
    return view
