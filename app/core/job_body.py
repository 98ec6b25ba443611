"""JSON representation of a job, for the status endpoint and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.core.job import Job
from app.core.output import Output
from app.core.prediction import Prediction, shown
from app.core.urls import url


def iso(seconds: float) -> str:
    """`2026-11-20T17:59:00.123Z`, rounded down to the millisecond, so that a listing `since` this time includes it."""
    milliseconds = int(seconds * 1000)
    if milliseconds / 1000 > seconds:  # the product was rounded up
        milliseconds -= 1
    whole, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def job_body(
    job: Job,
    outputs: Sequence[Output] = (),
    *,
    position: int | None = None,
    eta_seconds: float | None = None,
    prediction: Prediction | None = None,
) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "status": job.status,
        "model_id": job.request.model_id,
        "prompt": job.request.prompt,
        "negative_prompt": job.request.negative_prompt,
        "task": job.request.task,
        "settings": job.request.settings() | _drawn_size(outputs),
        "inputs": job.request.inputs(),
        "priority": job.priority,
        "lane": job.lane,
        "remote": remote_body(job, prediction),
        "created_at": iso(job.created_at),
        "started_at": iso_or_none(job.started_at),
        "completed_at": iso_or_none(job.completed_at),
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested,
        "position": position,
        "eta_seconds": eta_seconds,
        "progress": progress_body(job),
        "images": [image_ref(output) for output in outputs],
        "safety_filter_result": job.safety_filter_result,
        "error": error_body(job),
        "warnings": list(job.warnings),
        "timings": job.timings,
    }


def _drawn_size(outputs: Sequence[Output]) -> dict[str, int]:
    """The size of the outputs: not every pipeline keeps the requested size."""
    return {"width": outputs[0].width, "height": outputs[0].height} if outputs else {}


def remote_body(job: Job, prediction: Prediction | None) -> dict[str, Any] | None:
    """The call to a provider; null for a job of a local model."""
    call = job.request.remote
    if call is None:
        return None
    input = call.input if prediction is None else prediction.input
    return {
        "source": call.source,
        "model": call.model,
        "input": None if input is None else {name: shown(value) for name, value in input.items()},
        "prediction_id": prediction and prediction.provider_id,
        "status": prediction and prediction.status,
        "predict_seconds": prediction and prediction.predict_seconds,
        **download_body(prediction),
    }


def download_body(prediction: Prediction | None) -> dict[str, Any]:
    """The state of fetching the provider's files."""
    return {
        "download_attempted": prediction is not None and prediction.download_attempted,
        "download_retries": 0 if prediction is None else prediction.download_retries,
        "download_error": prediction and prediction.download_error,
    }


def progress_body(job: Job) -> dict[str, Any]:
    now = job.progress
    return {
        "phase": now.phase,
        "step": now.step,
        "total_steps": now.total_steps,
        "percent": now.percent,
        "seconds_per_step": None if now.seconds_per_step is None else round(now.seconds_per_step, 4),
        "downloaded_bytes": now.downloaded_bytes,
        "total_bytes": now.total_bytes,
    }


def error_body(job: Job) -> dict[str, str] | None:
    """The error of a FAILED job, or of the last attempt of one that is retried."""
    if job.error_code is None:
        return None
    return {"code": job.error_code, "message": job.error_message or ""}


def image_ref(output: Output) -> dict[str, Any]:
    address = url(f"/api/image/{output.id}")
    return {
        "image_id": output.id,
        "url": address,
        "thumbnail_url": f"{address}/thumbnail",
        "metadata_url": f"{address}/metadata",
        "media": output.media,
        "mime_type": output.mime_type,
        "width": output.width,
        "height": output.height,
        "bytes": output.bytes,
        "sha256": output.sha256,
        "seed": output.seed,
        "safety_filter_result": output.safety_filter_result,
    }
