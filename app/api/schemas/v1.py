"""The versioned API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field

from app.api.schemas.jobs import Accepted, ImageRef
from app.api.schemas.loras import LoraBody
from app.api.schemas.models import ModelsBody
from app.core.catalog import ModelSpec
from app.core.job import JobView
from app.core.memory_use import megabytes
from app.core.response_body import ResponseBody
from app.core.safety import SafetyResult
from app.core.sent_settings import reported


class Pictures(ResponseBody):
    image: str | None = Field(description="The first picture: a PNG in base64; null when it was deleted meanwhile.")
    images: list[str] = Field(description="All of them, the first one too.")
    seed: int | None = Field(
        description="Of the first; picture i has seed + i. Of a provider's model: what was sent to it, else null."
    )
    model_id: str
    job_id: str
    latency_ms: int = Field(description="From the request's arrival to the finished picture, waiting included.")
    vram_peak_mb: int | None = Field(description="Most GPU memory in use, in megabytes; null without a GPU.")
    safety_filter_result: SafetyResult
    outputs: list[ImageRef] = Field(description="Where the pictures stay.")
    warnings: list[str] = Field(description="Notes on fields that were changed or ignored.")

    @classmethod
    def of(cls, view: JobView, encoded: Sequence[str]) -> Self:
        """A COMPLETED job as one answer. `encoded` are its pictures in base64."""
        job = view.job
        return cls.read(
            job.request,
            image=encoded[0] if encoded else None,  # none when all were deleted meanwhile
            images=list(encoded),
            seed=_seed_of(view),
            job_id=job.id,
            latency_ms=round(1000 * ((job.completed_at or job.created_at) - job.created_at)),
            vram_peak_mb=megabytes(job.vram_peak_bytes),
            safety_filter_result=job.safety_filter_result or SafetyResult.SKIPPED,
            outputs=[ImageRef.of(output) for output in view.outputs],
            warnings=list(job.warnings),
        )


def _seed_of(view: JobView) -> int | None:
    seed: int | None = reported(view.job.request, view.sent).settings["seed"]
    return seed


class StillWorking(Accepted):
    """The job goes on; ask at `status_url` or follow `events_url`."""


class ListedModel(ResponseBody):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str

    @classmethod
    def of(cls, spec: ModelSpec, created: int) -> Self:
        """`created` is required there and means nothing here: since when this server offers the model."""
        owner = spec.repo.partition("/")[0] if spec.source != "local" else "local"
        return cls.read(spec, object="model", created=created, owned_by=owner)


class ModelList(ModelsBody):
    object: Literal["list"]
    data: list[ListedModel]


class ModelLoaded(ResponseBody):
    status: Literal["loaded", "already_loaded", "loading"]
    model_id: str
    seconds: float | None = Field(description="What loading took; null when there was nothing to load, or not yet.")
    worker_id: str | None = Field(description="The worker that has it in memory; null until one has taken the request.")
    downloaded_bytes: int | None = Field(description="How much of it is here; null when nothing is downloaded.")
    total_bytes: int | None = Field(description="How much there will be.")
    eta_seconds: float | None = Field(description="Until all is downloaded; null before it is known.")


class ModelsUnloaded(ResponseBody):
    status: Literal["unloaded", "not_loaded", "unloading"]
    models: list[str] = Field(
        description="What is out of memory now, or will be when running jobs have ended, or is not loaded further."
    )
    workers: int = Field(description="How many workers had something to unload.")


class LoraLoaded(ResponseBody):
    status: Literal["loaded", "loading", "will_be_loaded", "will_be_fetched"] = Field(
        description="loaded: `models` hold it now. will_be_loaded, will_be_fetched: no worker holds a model that it"
        " fits; the first job that asks for it loads it, or fetches it too."
    )
    lora: LoraBody
    models: list[str] = Field(description="The models in workers' memory that hold it.")


class LoraUnloaded(ResponseBody):
    status: Literal["unloaded", "unloading", "not_loaded"] = Field(
        description="unloading: a worker that holds it frees it after its job. not_loaded: nothing held it, and it was"
        " no name of `load`."
    )
    name: str
    models: list[str] = Field(description="The models in workers' memory that held it.")
