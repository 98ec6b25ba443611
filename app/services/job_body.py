"""JSON representation of a job, for the status endpoint, event streams and webhooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Self

from pydantic import Field

from app.core.catalog import Lane, Media
from app.core.job import Job, JobStatus, JobView, Phase, Progress
from app.core.output import Output
from app.core.prediction import Prediction, shown_input
from app.core.request import GenerationRequest
from app.core.response_body import Path, ResponseBody, Sha256, Time
from app.core.safety import SafetyResult
from app.core.sent_settings import reported
from app.core.tasks import UPSCALE, Task
from app.core.times import iso, iso_or_none
from app.core.webhooks import event_of
from app.services.urls import url

Sign = Callable[[str], "SignedUrls"]


class ProgressBody(ResponseBody):
    phase: Phase
    step: int
    total_steps: int
    percent: int = Field(ge=0, le=100)
    seconds_per_step: float | None = Field(description="Measured in this attempt; null before the first step.")
    downloaded_bytes: int | None = Field(description="In phase `downloading_model`: how much of the model is here.")
    total_bytes: int | None = Field(description="How much there will be; null when nothing is downloaded.")

    @classmethod
    def of(cls, progress: Progress) -> Self:
        seconds = progress.seconds_per_step
        return cls.read(progress, seconds_per_step=None if seconds is None else round(seconds, 4))


class ErrorBody(ResponseBody):
    code: str
    message: str

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """The error of a FAILED job, or of the last attempt of one that is retried."""
        return None if job.error_code is None else cls.read(code=job.error_code, message=job.error_message or "")


class SignedUrls(ResponseBody):
    """URLs that need no token until `expires_at`; with PUBLIC_URL they begin with it, else with a slash."""

    url: Path
    thumbnail_url: Path
    expires_at: Time


class ImageRef(ResponseBody):
    image_id: str
    url: Path
    thumbnail_url: Path
    metadata_url: Path
    media: Media
    mime_type: str
    width: int
    height: int
    bytes: int
    sha256: Sha256
    seed: int | None = Field(description="Null when a provider's model was sent none.")
    safety_filter_result: SafetyResult
    signed: SignedUrls | None = Field(description="In webhooks, and where `signed` asks for it.")

    @classmethod
    def of(cls, output: Output, *, sign: Sign | None = None, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        address = url(f"/api/image/{output.id}")
        return cls.read(
            output,
            image_id=output.id,
            url=address,
            thumbnail_url=f"{address}/thumbnail",
            metadata_url=f"{address}/metadata",
            signed=None if sign is None else sign(output.id),
            **more,
        )


class RemoteBody(ResponseBody):
    source: str
    model: str = Field(description="What the provider calls it.")
    input: dict[str, Any] | None = Field(description="In the model's own schema; null until it is sent.")
    native_input: bool = Field(description="Whether the client wrote `input`.")
    requested: dict[str, Any] | None = Field(
        description="With `native_input`: as it was accepted, defaults filled in, pictures of the gallery by reference."
    )
    prediction_id: str | None = Field(description="What the provider calls the generation.")
    status: str | None = Field(description="intended, or the provider's own word for it.")
    predict_seconds: float | None = Field(description="Billed compute time.")
    download_attempted: bool
    download_retries: int
    download_error: str | None = Field(description="Why the files are not here.")

    @classmethod
    def of(cls, job: Job, prediction: Prediction | None) -> Self | None:
        """The call to a provider; null for a job of a local model."""
        call = job.request.remote
        if call is None:
            return None
        input = call.input if prediction is None else prediction.input
        return cls.read(
            call,
            input=None if input is None else shown_input(input),
            native_input=call.input is not None,
            requested=None if call.input is None else shown_input(call.input),
            prediction_id=prediction and prediction.provider_id,
            status=prediction and prediction.status,
            predict_seconds=prediction and prediction.predict_seconds,
            **download_of(prediction),
        )


def download_of(prediction: Prediction | None) -> dict[str, Any]:
    """The members about fetching the provider's files."""
    return {
        "download_attempted": prediction is not None and prediction.download_attempted,
        "download_retries": 0 if prediction is None else prediction.download_retries,
        "download_error": prediction and prediction.download_error,
    }


class JobBody(ResponseBody):
    job_id: str
    status: JobStatus
    model_id: str
    prompt: str
    negative_prompt: str | None
    task: Task
    settings: dict[str, Any] = Field(
        description="As used: defaults filled in, the seed drawn. Of a provider's model what was sent; null is what was"
        " not."
    )
    inputs: dict[str, Any] = Field(
        description="`image` and `mask`, where there are: `sha256` of the file as it was sent, `width` and `height` as"
        " used, `image_id` when it came from the gallery."
    )
    priority: int
    batch_id: str | None = Field(description="The batch that made it; null for a single job.")
    batch_place: int | None = Field(description="Its place in that batch.")
    remote: RemoteBody | None = Field(description="What was asked of a provider; null for a model here.")
    lane: Lane = Field(description="local: a model in memory here; remote: a provider's. Each has its own queue.")
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    attempt: int = Field(description="0 before the first.")
    cancel_requested: bool
    position: int | None = Field(description="1 = served next; null unless PENDING.")
    eta_seconds: float | None = Field(
        description="Until it is done; null without finished jobs of this kind to estimate from."
    )
    waits_for: str | None = Field(
        description="While PENDING: what no live worker has that this job needs, `a worker that has the LoRA style`."
        " Null while one can run it, and without any worker."
    )
    progress: ProgressBody
    images: list[ImageRef]
    safety_filter_result: SafetyResult | None = Field(
        description="The most severe result of its pictures; null before the end."
    )
    error: ErrorBody | None
    warnings: list[str]
    timings: dict[str, Any] = Field(description="Seconds by phase, when COMPLETED.")

    @classmethod
    def of(cls, view: JobView, *, sign: Sign | None = None, **more: Any) -> Self:
        """`sign` signs URLs of pictures by their ids. `more` are the fields of a subclass."""
        job, request = view.job, view.job.request
        negative_prompt, settings = reported(request, view.sent)
        return cls.read(
            job,
            view,
            request,
            job_id=job.id,
            negative_prompt=negative_prompt,
            settings=settings | ({} if _has_second_pass(request) else _drawn_size(view.outputs)),
            inputs=request.inputs(),
            remote=RemoteBody.of(job, view.prediction),
            created_at=iso(job.created_at),
            started_at=iso_or_none(job.started_at),
            completed_at=iso_or_none(job.completed_at),
            progress=ProgressBody.of(job.progress),
            images=[ImageRef.of(output, sign=sign) for output in view.outputs],
            error=ErrorBody.of(job),
            warnings=list(job.warnings),
            **more,
        )


def _has_second_pass(request: GenerationRequest) -> bool:
    """Whether width and height are those of the first pass, which must be sent again as they are."""
    return request.upscale is not None and request.task != UPSCALE


def _drawn_size(outputs: Sequence[Output]) -> dict[str, int]:
    """The size of the outputs: not every pipeline keeps the requested size."""
    return {"width": outputs[0].width, "height": outputs[0].height} if outputs else {}


def webhook_message(view: JobView, sign: Sign | None = None) -> str:
    """The webhook message about a job that has ended. All attempts to deliver it send the same characters."""
    message = {
        "type": event_of(view.job),
        "timestamp": iso(view.job.completed_at or 0.0),
        "data": JobBody.of(view, sign=sign).as_dict(),
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
