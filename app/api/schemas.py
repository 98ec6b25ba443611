"""What the answers look like, for the OpenAPI document. `app.api.shapes` builds them; a test holds the two together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.core.catalog import Media
from app.core.job import JobStatus, Phase
from app.core.webhooks import DeliveryState

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC, ISO 8601.")]
Path = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class FieldProblem(BaseModel):
    field: str = Field(description="Dotted path, e.g. `settings.width`.")
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 words it."""

    type: Path
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it.")
    code: str = Field(description="Stable: branch on this.")
    request_id: str
    errors: list[FieldProblem]


class Accepted(BaseModel):
    job_id: str
    status: JobStatus
    position: int | None = Field(description="1 = served next; null when the job no longer waits.")
    status_url: Path
    events_url: Path
    warnings: list[str] = Field(description="What was read otherwise than it was written.")


class ProgressBody(BaseModel):
    phase: Phase
    step: int
    total_steps: int
    percent: int = Field(ge=0, le=100)


class ErrorBody(BaseModel):
    code: str
    message: str


class ImageRef(BaseModel):
    image_id: str
    url: Path
    thumbnail_url: Path
    metadata_url: Path
    media: Media
    width: int
    height: int
    bytes: int
    sha256: Sha256
    seed: int


class JobBody(BaseModel):
    job_id: str
    status: JobStatus
    model_id: str
    prompt: str
    negative_prompt: str | None
    settings: dict[str, Any] = Field(description="As used: defaults filled in, the seed drawn.")
    priority: int
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    attempt: int = Field(description="0 before the first.")
    cancel_requested: bool
    position: int | None = Field(description="1 = served next; null unless PENDING.")
    eta_seconds: float | None = Field(description="Until it is done; null when nothing like it was seen yet.")
    progress: ProgressBody
    images: list[ImageRef]
    error: ErrorBody | None
    warnings: list[str]
    timings: dict[str, Any] = Field(description="Seconds by phase, when COMPLETED.")


class DeliveryBody(BaseModel):
    delivery_id: str = Field(description="The `webhook-id` header of every try.")
    job_id: str
    event: str = Field(description="`job.completed`, `job.failed` or `job.cancelled`.")
    receiver: str = Field(description="Scheme and host of the `webhook_url`; the rest of it may be a secret.")
    state: DeliveryState
    attempt: int
    next_attempt_at: Time | None
    created_at: Time
    attempted_at: Time | None
    delivered_at: Time | None
    response_status: int | None = Field(description="What the receiver answered to the last try, if it did.")
    error: str | None


class DeliveriesBody(BaseModel):
    deliveries: list[DeliveryBody]
    next_cursor: int | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class ImageMetadata(ImageRef):
    job_id: str
    model_id: str
    mime_type: str
    created_at: Time
    favorite: bool = Field(description="Retention leaves it alone.")
    manifest: dict[str, Any] = Field(description="Everything needed to make the picture again.")


class GalleryItem(BaseModel):
    """A picture, or a generation that has none: then `image_id` and what belongs to it are null."""

    image_id: str | None
    job_id: str
    status: JobStatus
    prompt: str
    model_id: str
    media: Media
    created_at: Time
    url: Path | None
    thumbnail_url: Path | None
    metadata_url: Path | None
    width: int | None
    height: int | None
    seed: int | None
    favorite: bool
    error: ErrorBody | None


class GalleryBody(BaseModel):
    images: list[GalleryItem]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class ModelBody(BaseModel):
    id: str
    name: str
    repo: str
    description: str
    source: str
    requires_auth: bool
    media: Media
    tasks: list[str]
    steps: dict[str, int] = Field(description='`{"fixed": n}` or `{"min", "max", "default"}`.')
    defaults: dict[str, Any]
    limits: dict[str, Any]
    negative_prompt: bool = Field(description="Whether the model has one.")
    example_prompts: list[str]
    hint: str
    available: bool = Field(description="Its weights are on this machine.")
    loaded: bool = Field(description="A live worker holds it in memory.")


class ModelsBody(BaseModel):
    default: str
    prompt_max_chars: int
    models: list[ModelBody]


class WorkerBody(BaseModel):
    id: str
    host: str
    pid: int
    device: str
    state: str
    job_id: str | None
    models: list[dict[str, Any]]
    rss_bytes: int
    vram_bytes: int
    started_at: Time
    heartbeat_at: Time


class ModelSpeed(BaseModel):
    load_seconds: float | None
    seconds: dict[str, float] = Field(description="Per picture, by `<width>x<height>x<steps>`; 0 = the model's own.")


class QueueBody(BaseModel):
    counts: dict[JobStatus, int]
    running: list[JobBody]
    waiting: list[JobBody] = Field(description="The head of the line, first served first.")
    models: dict[str, ModelSpeed] = Field(description="Average times, learned from finished jobs.")
    workers: list[WorkerBody]


class HealthBody(BaseModel):
    status: Literal["ok"]


class ChecksBody(BaseModel):
    status: Literal["ok"]
    ready: bool = Field(description="Whether a job that is sent now will be worked on.")
    checks: dict[str, str] = Field(description='"ok", or what is wrong.')


class DiskBody(BaseModel):
    free_bytes: int
    floor_bytes: int = Field(description="Below this, new jobs are refused.")


class ImagesTotal(BaseModel):
    count: int
    bytes: int


class CpuBody(BaseModel):
    percent: float = Field(description="Of all cores together.")
    count: int


class MemoryBody(BaseModel):
    total_bytes: int
    available_bytes: int
    percent: float = Field(description="In use.")
    api_rss_bytes: int = Field(description="Of this API process.")


class GpuBody(BaseModel):
    index: int
    name: str
    memory_bytes: int
    used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None


class ResponseTimes(BaseModel):
    p50: float
    p95: float
    p99: float


class RequestsBody(BaseModel):
    count: int = Field(description="The figures are of this many requests: the last, at most a thousand.")
    error_rate: float = Field(description="Share of them that ended in a 5xx.")
    seconds: ResponseTimes


class StatusBody(BaseModel):
    started_at: Time
    uptime_seconds: float
    versions: dict[str, str]
    ready: bool
    checks: dict[str, str]
    queue: dict[JobStatus, int]
    workers: list[WorkerBody]
    cpu: CpuBody
    memory: MemoryBody
    gpus: list[GpuBody]
    disk: DiskBody
    images: ImagesTotal
    requests: RequestsBody


class CleanupBody(BaseModel):
    """What was removed, or would have been."""

    dry_run: bool
    images: int
    jobs: int
    orphans: int = Field(description="Files that belonged to nothing.")
    idempotency_keys: int
    freed_bytes: int = Field(description="Of pictures, thumbnails and orphans.")


class FavoriteBody(BaseModel):
    image_id: str
    favorite: bool


class RootBody(BaseModel):
    name: str
    version: str
    links: dict[str, Path]
