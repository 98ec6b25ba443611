"""The Model Context Protocol: its messages, and what its tools answer as `structuredContent`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self, cast

from pydantic import ConfigDict, Field

from app.core.batches.axes import Axis
from app.core.batches.batch import BatchStatus, Place, coordinates
from app.core.catalog import Media
from app.core.job import JobStatus, JobView
from app.core.output import Output
from app.core.response_body import ResponseBody, Time
from app.core.times import iso
from app.services.batches.view import BatchView
from app.services.job_body import ErrorBody
from app.services.media.gallery import ImageItem
from app.services.ops.stats import ModelState

_ANY: dict[str, Any] = {"openapi_extra": {"description": "Any other error"}}
MessageId = int | str | None
Address = Callable[[Output], str]


class McpResult(ResponseBody):
    """The answer to a request."""

    jsonrpc: Literal["2.0"]
    id: MessageId
    result: dict[str, Any]


class McpErrorDetails(ResponseBody):
    code: int = Field(description="Of JSON-RPC.")
    message: str = Field(description="What is wrong and what to do about it.")
    data: dict[str, Any] = Field(description="Our `code`, the `errors` by field, the `request_id`.")


class McpError(ResponseBody):
    """An error in the shape of JSON-RPC."""

    model_config = cast(ConfigDict, _ANY)

    jsonrpc: Literal["2.0"]
    id: MessageId
    error: McpErrorDetails


class PictureResult(ResponseBody):
    image_id: str = Field(description="Give it as `image` to edit this picture.")
    url: str = Field(description="The full file, for the user; it opens without signing in for a while.")
    media: Media
    mime_type: str
    width: int
    height: int
    seed: int | None = Field(description="The same seed, settings and model give the same picture.")

    @classmethod
    def of(cls, output: Output, address: Address, **more: Any) -> Self:
        return cls.read(output, image_id=output.id, url=address(output), **more)


class GenerationResult(ResponseBody):
    job_id: str = Field(description="For get_generation and cancel_generation.")
    status: JobStatus
    model_id: str
    prompt: str
    position: int | None = Field(description="Place in the queue while PENDING; 1 is next.")
    eta_seconds: float | None = Field(description="Estimated seconds until it is done; null when not known.")
    percent: int = Field(ge=0, le=100)
    images: list[PictureResult] = Field(description="Pictures or videos; none before it is COMPLETED.")
    warnings: list[str] = Field(description="What was changed or not used.")
    error: ErrorBody | None = Field(description="Of one that FAILED.")

    @classmethod
    def of(cls, view: JobView, address: Address) -> Self:
        job = view.job
        return cls.read(
            job,
            view,
            job.request,
            job_id=job.id,
            percent=job.progress.percent,
            images=[PictureResult.of(output, address) for output in view.outputs],
            warnings=list(job.warnings),
            error=ErrorBody.of(job),
        )


class BatchPlaceResult(ResponseBody):
    at: list[str] = Field(description="What is different here: the value on each axis.")
    job_id: str
    status: JobStatus
    images: list[PictureResult]

    @classmethod
    def of(cls, place: Place, axes: Sequence[Axis], address: Address) -> Self:
        at = coordinates(place.place, axes) or ()
        return cls.read(
            place,
            at=[axis.values[number] for axis, number in zip(axes, at, strict=False)],
            images=[PictureResult.of(output, address) for output in place.images],
        )


class BatchResult(ResponseBody):
    batch_id: str = Field(description="For get_batch.")
    status: BatchStatus
    jobs: int
    percent: int = Field(ge=0, le=100, description="How many of the jobs have ended.")
    completed: int
    failed: int
    eta_seconds: float | None = Field(description="Estimated seconds until the last one ends; null when not known.")
    axes: list[str] = Field(description="The fields that change.")
    places: list[BatchPlaceResult] = Field(description="Of get_batch: what is there, from `offset` on.")
    warnings: list[str]

    @classmethod
    def of(cls, view: BatchView, address: Address, warnings: Iterable[str]) -> Self:
        batch = view.batch
        places = [BatchPlaceResult.of(place, batch.axes, address) for place in view.places]
        return cls.read(
            batch,
            view,
            batch_id=batch.id,
            completed=batch.counts[JobStatus.COMPLETED],
            failed=batch.counts[JobStatus.FAILED],
            axes=[axis.field for axis in batch.axes],
            places=places,
            warnings=list(warnings),
        )


class ModelResult(ResponseBody):
    id: str = Field(description="What `model_id` takes.")
    name: str
    description: str
    hint: str = Field(description="How to write prompts for it; may be empty.")
    media: Media
    tasks: list[str] = Field(description="txt2img, img2img, inpaint, edit, txt2video, img2video.")
    steps: dict[str, int] = Field(description='`{"fixed": n}` or `{"min", "max", "default"}`.')
    defaults: dict[str, Any]
    limits: dict[str, Any]
    negative_prompt: bool = Field(description="Whether it takes one.")
    available: bool = Field(
        description="Its files are on the server; else they are downloaded first, which takes long."
    )
    loaded: bool = Field(description="In memory: it draws at once.")

    @classmethod
    def of(cls, state: ModelState) -> Self:
        spec = state.spec
        return cls.read(
            state,
            state.files,
            spec,
            spec.options,
            tasks=list(state.tasks),
            steps=spec.steps.describe(),
            defaults=spec.defaults.model_dump(exclude_none=True),
            limits=spec.limits.model_dump(exclude_none=True),
        )


class ModelsResult(ResponseBody):
    default: str = Field(description="The model that draws where none is named.")
    models: list[ModelResult]

    @classmethod
    def of(cls, default: str, states: Iterable[ModelState]) -> Self:
        return cls.read(default=default, models=[ModelResult.of(state) for state in states])


class FoundPicture(PictureResult):
    job_id: str
    prompt: str
    model_id: str
    created_at: Time
    favorite: bool

    @classmethod
    def of_item(cls, item: ImageItem, address: Address) -> Self:
        return cls.of(item.output, address, prompt=item.prompt, created_at=iso(item.output.created_at))


class GalleryResult(ResponseBody):
    images: list[FoundPicture] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")
