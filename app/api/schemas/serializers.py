"""What goes out as JSON, built by hand from the domain's objects: the status of a job is asked for all the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core import job_body as job_bodies
from app.core.job import JobStatus
from app.core.job_body import download_body, error_body, image_ref, iso, iso_or_none
from app.core.loras import FAMILIES
from app.core.model_schema import InputSchema
from app.core.output import Output
from app.core.provider_input import first_frame_of
from app.core.urls import url
from app.core.webhooks import Delivery, DeliveryState
from app.monitoring.requests import Recent
from app.monitoring.resources import Reading
from app.providers.replicate import RemoteModel
from app.services.jobs.status import JobView
from app.services.jobs.submit import Submission
from app.services.media.gallery import ImageItem, JobItem
from app.services.models.loras import KnownLora
from app.services.ops.stats import ModelState, QueueStats
from app.services.remote.models import Listing
from app.store.queue.durations import LOAD


def accepted(submitted: Submission) -> dict[str, Any]:
    return {
        "job_id": submitted.job_id,
        "status": JobStatus.PENDING,  # what was accepted, also when the same request is repeated later
        "position": submitted.position,
        "status_url": url(f"/api/status/{submitted.job_id}"),
        "events_url": url(f"/api/jobs/{submitted.job_id}/events"),
        "warnings": list(submitted.warnings),
    }


def accepted_response(submitted: Submission) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The 202 of a route that enqueues."""
    body = accepted(submitted)
    return body, 202, {"Location": body["status_url"]}


def job_body(view: JobView) -> dict[str, Any]:
    return job_bodies.job_body(
        view.job,
        view.outputs,
        position=view.position,
        eta_seconds=view.eta_seconds,
        prediction=view.prediction,
    )


def remote_job_body(view: JobView) -> dict[str, Any]:
    return job_body(view) | download_body(view.prediction)


def remote_models_body(listing: Listing) -> dict[str, Any]:
    return {
        "models": [
            {**vars(listed), "schema_url": url(f"/api/{listed.media}-models/{listed.model}/schema")}
            for listed in listing.models
        ],
        "refreshed_at": iso_or_none(listing.refreshed_at),
    }


def remote_schema_body(model: RemoteModel) -> dict[str, Any]:
    schema = InputSchema(model.document)
    return {
        "model": model.model,
        "version": model.version,
        "input_schema": schema.schema,
        "required": sorted(schema.required),
        "defaults": schema.defaults(),
        "files": schema.files(),
        "first_frame": first_frame_of(schema),
    }


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.id,
        "job_id": delivery.job_id,
        "event": delivery.event,
        "receiver": delivery.receiver,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "next_attempt_at": iso(delivery.due_at) if delivery.state is DeliveryState.PENDING else None,
        "created_at": iso(delivery.created_at),
        "attempted_at": iso_or_none(delivery.attempted_at),
        "delivered_at": iso_or_none(delivery.delivered_at),
        "response_status": delivery.response_status,
        "error": delivery.error,
    }


def image_metadata(output: Output) -> dict[str, Any]:
    return {
        **image_ref(output),
        "job_id": output.job_id,
        "model_id": output.model_id,
        "mime_type": output.mime_type,
        "created_at": iso(output.created_at),
        "favorite": output.favorite,
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
            "mime_type": None,
            "created_at": iso(job.created_at),
            "url": None,
            "thumbnail_url": None,
            "metadata_url": None,
            "width": job.request.width,
            "height": job.request.height,
            "seed": job.request.seed,
            "safety_filter_result": job.safety_filter_result,
            "favorite": False,
            "error": error_body(job),
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
        "mime_type": output.mime_type,
        "created_at": iso(output.created_at),
        **{name: reference[name] for name in ("url", "thumbnail_url", "metadata_url", "width", "height", "seed")},
        "safety_filter_result": output.safety_filter_result,
        "favorite": output.favorite,
        "error": None,
    }


def model_body(state: ModelState) -> dict[str, Any]:
    spec = state.spec
    length = set() if spec.media == "video" else {"num_frames", "fps", "frame_step", "max_frames", "max_fps"}
    return {
        **spec.model_dump(include={"id", "name", "repo", "description", "source", "requires_auth"}),
        "media": spec.media,
        "lane": spec.lane,
        "tasks": list(state.tasks),
        "steps": spec.steps.describe(),
        "defaults": spec.defaults.model_dump(exclude=length),
        "limits": spec.limits.model_dump(exclude=length),
        "negative_prompt": spec.options.negative_prompt,
        "example_prompts": list(spec.options.example_prompts),
        "hint": spec.options.hint,
        "available": state.files.available,
        "bytes": state.files.bytes,
        "downloading": state.downloading and vars(state.downloading),
        "loaded": state.loaded,
    }


def lora_body(known: KnownLora) -> dict[str, Any]:
    card = known.card
    return {
        "id": known.id,
        "stands_for": known.stands_for,
        "available": known.available,
        "family": FAMILIES[card.family] if card and card.family else None,
        "models": list(known.models),
        "bytes": card.bytes if card else None,
        "rank": card.rank if card else None,
        "base_model": card.base_model if card else None,
        "problem": known.problem,
    }


def worker_body(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "started_at": iso(row["started_at"]), "heartbeat_at": iso(row["heartbeat_at"])}


def machine_body(reading: Reading) -> dict[str, Any]:
    """The members `cpu`, `memory` and `gpus` of the status."""
    return {
        "cpu": {"percent": round(reading.cpu_percent, 1), "count": reading.cpu_count},
        "memory": {
            "total_bytes": reading.memory_bytes,
            "available_bytes": reading.available_bytes,
            "percent": round(reading.memory_percent, 1),
            "api_rss_bytes": reading.rss_bytes,
        },
        "gpus": [vars(gpu) for gpu in reading.gpus],
    }


def requests_body(recent: Recent) -> dict[str, Any]:
    return {
        "count": recent.count,
        "error_rate": round(recent.error_rate, 4),
        "seconds": {name: round(getattr(recent, name), 4) for name in ("p50", "p95", "p99")},
    }


def queue_body(overview: QueueStats) -> dict[str, Any]:
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
