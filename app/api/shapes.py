"""What goes out as JSON, built by hand from the domain's objects: the status of a job is asked for all the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.core.job import Job, JobStatus
from app.core.output import Output
from app.services.gallery import ImageItem, JobItem
from app.services.overview import ModelState, QueueOverview
from app.services.status import JobView
from app.services.submit import Submitted
from app.store.speeds import LOAD


def iso(seconds: float) -> str:
    """`2026-11-20T17:59:00.123Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def accepted(submitted: Submitted) -> dict[str, Any]:
    job = submitted.job
    return {
        "job_id": job.id,
        "status": job.status,
        "position": submitted.position,
        "status_url": f"/api/status/{job.id}",
        "events_url": f"/api/jobs/{job.id}/events",
        "warnings": list(job.warnings),
    }


def job_body(view: JobView) -> dict[str, Any]:
    job = view.job
    return {
        "job_id": job.id,
        "status": job.status,
        "model_id": job.request.model_id,
        "prompt": job.request.prompt,
        "negative_prompt": job.request.negative_prompt,
        "settings": job.request.settings(),
        "priority": job.priority,
        "created_at": iso(job.created_at),
        "started_at": iso_or_none(job.started_at),
        "completed_at": iso_or_none(job.completed_at),
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested,
        "position": view.position,
        "eta_seconds": view.eta_seconds,
        "progress": progress(job),
        "images": [image_ref(output) for output in view.outputs],
        "error": error_of(job),
        "warnings": list(job.warnings),
        "timings": job.timings,
    }


def progress(job: Job) -> dict[str, Any]:
    now = job.progress
    return {"phase": now.phase, "step": now.step, "total_steps": now.total_steps, "percent": now.percent}


def error_of(job: Job) -> dict[str, str] | None:
    """What went wrong, of a FAILED job or of the last attempt of one that is tried again."""
    if job.error_code is None:
        return None
    return {"code": job.error_code, "message": job.error_message or ""}


def image_ref(output: Output) -> dict[str, Any]:
    url = f"/api/image/{output.id}"
    return {
        "image_id": output.id,
        "url": url,
        "thumbnail_url": f"{url}/thumbnail",
        "metadata_url": f"{url}/metadata",
        "media": output.media,
        "width": output.width,
        "height": output.height,
        "bytes": output.bytes,
        "sha256": output.sha256,
        "seed": output.seed,
    }


def image_metadata(output: Output) -> dict[str, Any]:
    return {
        **image_ref(output),
        "job_id": output.job_id,
        "model_id": output.model_id,
        "mime_type": output.mime_type,
        "created_at": iso(output.created_at),
        "manifest": output.manifest,
    }


def gallery_item(item: ImageItem | JobItem) -> dict[str, Any]:
    """The same members for a picture and for a generation that has none."""
    if isinstance(item, JobItem):
        job = item.job
        return {
            "image_id": None,
            "job_id": job.id,
            "status": job.status,
            "prompt": job.request.prompt,
            "model_id": job.request.model_id,
            "media": item.media,
            "created_at": iso(job.created_at),
            "url": None,
            "thumbnail_url": None,
            "metadata_url": None,
            "width": job.request.width,
            "height": job.request.height,
            "seed": job.request.seed,
            "error": error_of(job),
        }
    output = item.output
    reference = image_ref(output)
    return {
        "image_id": output.id,
        "job_id": output.job_id,
        "status": JobStatus.COMPLETED,
        "prompt": item.prompt,
        "model_id": output.model_id,
        "media": output.media,
        "created_at": iso(output.created_at),
        **{name: reference[name] for name in ("url", "thumbnail_url", "metadata_url", "width", "height", "seed")},
        "error": None,
    }


def model_body(state: ModelState) -> dict[str, Any]:
    spec = state.spec
    return {
        **spec.model_dump(include={"id", "name", "repo", "description", "source", "requires_auth"}),
        "media": spec.media,
        "tasks": list(spec.options.tasks),
        "steps": spec.steps.describe(),
        "defaults": spec.defaults.model_dump(),
        "limits": spec.limits.model_dump(),
        "negative_prompt": spec.options.negative_prompt,
        "example_prompts": list(spec.options.example_prompts),
        "hint": spec.options.hint,
        "available": state.available,
        "loaded": state.loaded,
    }


def worker_body(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "started_at": iso(row["started_at"]), "heartbeat_at": iso(row["heartbeat_at"])}


def queue_body(overview: QueueOverview) -> dict[str, Any]:
    speeds: dict[str, dict[str, Any]] = {}
    for (model_id, bucket), seconds in overview.speeds.items():
        model = speeds.setdefault(model_id, {"load_seconds": None, "seconds": {}})
        if bucket == LOAD:
            model["load_seconds"] = round(seconds, 3)
        else:
            model["seconds"][bucket] = round(seconds, 3)
    return {
        "counts": dict(overview.counts),
        "running": [job_body(view) for view in overview.running],
        "waiting": [job_body(view) for view in overview.waiting],
        "models": speeds,
        "workers": [worker_body(row) for row in overview.workers],
    }
