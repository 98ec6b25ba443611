"""The input pictures of a job, as they are stored with it: to draw a mask on, or to use them again."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.http import openapi
from app.api.http.openapi import JobPath, blueprint, responses
from app.api.routing import Access
from app.api.server.context import app_context
from app.errors import Gone, ImageNotFound, JobNotFound

api = blueprint("job_inputs", "jobs")

_NEVER_CHANGES = "private, max-age=86400, immutable"


class InputPath(JobPath):
    slot: str = Field(
        max_length=16, description="A name of the job's `inputs`: image, mask, reference-1, control …, as listed."
    )


@api.get(
    "/api/jobs/<job_id>/inputs/<slot>",
    access=Access.USER,
    budget="read",
    responses=responses({200: openapi.file("A PNG.", "image/png")}, JobNotFound, Gone, ImageNotFound),
    description="As the job uses it: scaled to its size. It is kept as long as the job.",
)
def job_input(path: InputPath) -> Response:
    """Get an input picture of a job"""
    context = app_context()
    context.jobs.get(path.job_id)
    png = context.inputs.png(path.job_id, path.slot)
    if png is None:
        raise ImageNotFound("The job has no such input picture.")
    return Response(png, mimetype="image/png", headers={"Cache-Control": _NEVER_CHANGES})
