"""Pictures and the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field

from app.api.schemas.jobs import ErrorBody, ImageRef
from app.core.catalog import Media
from app.core.job import JobStatus
from app.core.output import Output
from app.core.response_body import Path, ResponseBody, Time
from app.core.safety import SafetyResult
from app.core.times import iso, iso_or_none
from app.services.job_body import Sign
from app.services.media.gallery import ImageItem, JobItem, Listing
from app.services.media.lineage import Lineage

DAY = 86_400.0  # seconds


class ImageMetadata(ImageRef):
    job_id: str
    model_id: str
    created_at: Time
    favorite: bool = Field(description="Retention leaves it alone.")
    manifest: dict[str, Any] = Field(description="Everything needed to make the picture again.")
    tags: list[str]

    @classmethod
    def of(cls, output: Output, *, sign: Sign | None = None, **more: Any) -> Self:
        more.setdefault("tags", [])
        return super().of(output, sign=sign, created_at=iso(output.created_at), **more)


class GalleryItem(ResponseBody):
    """A picture, or a generation that has none: then `image_id` and what belongs to it are null."""

    image_id: str | None
    job_id: str
    status: JobStatus
    prompt: str
    model_id: str
    media: Media
    mime_type: str | None
    created_at: Time
    url: Path | None
    thumbnail_url: Path | None
    metadata_url: Path | None
    width: int | None
    height: int | None
    seed: int | None
    safety_filter_result: SafetyResult | None
    favorite: bool
    error: ErrorBody | None
    tags: list[str]
    deleted_at: Time | None = Field(description="Of a picture in the bin.")
    bin_until: Time | None = Field(description="When a picture in the bin is removed for good, at the earliest.")

    @classmethod
    def of(cls, item: ImageItem | JobItem, bin_days: float = 0.0) -> Self:
        return cls._of_job(item) if isinstance(item, JobItem) else cls._of_image(item, bin_days)

    @classmethod
    def _of_image(cls, item: ImageItem, bin_days: float) -> Self:
        output, ref, deleted_at = item.output, ImageRef.of(item.output), item.output.deleted_at
        return cls.read(
            output,
            item,
            ref,
            status=JobStatus.COMPLETED,
            created_at=iso(output.created_at),
            thumbnail_url=ref.thumbnail_url if deleted_at is None else f"{ref.thumbnail_url}?bin=1",
            error=None,
            tags=list(item.tags),
            deleted_at=iso_or_none(deleted_at),
            bin_until=iso_or_none(None if deleted_at is None else deleted_at + bin_days * DAY),
        )

    @classmethod
    def _of_job(cls, item: JobItem) -> Self:
        job = item.job
        unknown = ["image_id", "mime_type", "url", "thumbnail_url", "metadata_url", "deleted_at", "bin_until"]
        if job.request.remote is not None:  # what the provider's model was sent is in its status
            unknown += ["width", "height", "seed"]
        return cls.read(
            job,
            item,
            job.request,
            job_id=job.id,
            created_at=iso(job.created_at),
            favorite=False,
            error=ErrorBody.of(job),
            tags=[],
            **dict.fromkeys(unknown),
        )


class GalleryBody(ResponseBody):
    images: list[GalleryItem]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")
    total: int | None = Field(description="How many pictures match, where `count` asks for it.")

    @classmethod
    def of(cls, listing: Listing, next_cursor: str | None, total: int | None = None, bin_days: float = 0.0) -> Self:
        items = [GalleryItem.of(item, bin_days) for item in listing.items]
        return cls.read(images=items, next_cursor=next_cursor, total=total)


class VideosBody(ResponseBody):
    videos: list[GalleryItem]
    images: list[GalleryItem] = Field(description="The same as `videos`.")
    next_cursor: str | None = Field(description="As in GalleryBody.")
    total: int | None = Field(description="As in GalleryBody.")

    @classmethod
    def of(cls, listing: Listing, next_cursor: str | None, total: int | None = None, bin_days: float = 0.0) -> Self:
        items = [GalleryItem.of(item, bin_days) for item in listing.items]
        return cls.read(videos=items, images=items, next_cursor=next_cursor, total=total)


class TagBody(ResponseBody):
    tag: str
    images: int = Field(description="How many pictures have it.")


class TagsBody(ResponseBody):
    tags: list[TagBody]

    @classmethod
    def of(cls, listing: Sequence[tuple[str, int]]) -> Self:
        return cls.read(tags=[TagBody.read(tag=label, images=number) for label, number in listing])


class ActionResult(ResponseBody):
    action: str
    matched: int = Field(description="Pictures that the action could work on.")
    changed: int = Field(description="Those of them that it changed.")
    missing: int = Field(description="Ids that name no picture of the client's where the action looks.")
    ids: list[str] = Field(description="Those that changed, the first 1,000.")
    deletion_id: str | None = Field(description="Of `delete`: as the filter's `deletion` it restores all of them.")


class FavoriteBody(ResponseBody):
    image_id: str
    favorite: bool


class SourceBody(ResponseBody):
    image_id: str
    how: str = Field(
        description="The task that used it (img2img, inpaint, edit, img2video, upscale), extend, rerun, or its role."
    )


class RelativeBody(ImageRef):
    model_id: str
    prompt: str
    created_at: Time
    made_from: list[SourceBody] = Field(description="The pictures of this answer that it was made from directly.")

    @classmethod
    def in_lineage(cls, output: Output, lineage: Lineage) -> Self:
        return cls.of(
            output,
            prompt=output.manifest.get("prompt", ""),
            created_at=iso(output.created_at),
            made_from=[SourceBody.read(source) for source in lineage.sources.get(output.id, ())],
        )


class LineageBody(ResponseBody):
    image_id: str
    made_from: list[SourceBody]
    ancestors: list[RelativeBody] = Field(description="What it was made from, directly or not, oldest first.")
    children: list[RelativeBody] = Field(description="What was made directly from it, newest first; 200 at most.")

    @classmethod
    def of(cls, lineage: Lineage) -> Self:
        return cls.read(
            image_id=lineage.output.id,
            made_from=[SourceBody.read(source) for source in lineage.sources.get(lineage.output.id, ())],
            ancestors=[RelativeBody.in_lineage(each, lineage) for each in lineage.ancestors],
            children=[RelativeBody.in_lineage(each, lineage) for each in lineage.children],
        )
