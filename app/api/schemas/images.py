"""Pictures and the gallery."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from app.api.schemas.jobs import ErrorBody, ImageRef
from app.core.catalog import Media
from app.core.job import JobStatus
from app.core.output import Output
from app.core.response_body import Path, ResponseBody, Time
from app.core.safety import SafetyResult
from app.core.times import iso
from app.services.job_body import Sign
from app.services.media.gallery import ImageItem, JobItem, Listing
from app.services.media.lineage import Lineage


class ImageMetadata(ImageRef):
    job_id: str
    model_id: str
    created_at: Time
    favorite: bool = Field(description="Retention leaves it alone.")
    manifest: dict[str, Any] = Field(description="Everything needed to make the picture again.")

    @classmethod
    def of(cls, output: Output, *, sign: Sign | None = None, **more: Any) -> Self:
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

    @classmethod
    def of(cls, item: ImageItem | JobItem) -> Self:
        return cls._of_job(item) if isinstance(item, JobItem) else cls._of_image(item)

    @classmethod
    def _of_image(cls, item: ImageItem) -> Self:
        output = item.output
        return cls.read(
            output,
            item,
            ImageRef.of(output),
            status=JobStatus.COMPLETED,
            created_at=iso(output.created_at),
            error=None,
        )

    @classmethod
    def _of_job(cls, item: JobItem) -> Self:
        job = item.job
        unknown = ["image_id", "mime_type", "url", "thumbnail_url", "metadata_url"]
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
            **dict.fromkeys(unknown),
        )


class GalleryBody(ResponseBody):
    images: list[GalleryItem]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")

    @classmethod
    def of(cls, listing: Listing, next_cursor: str | None) -> Self:
        return cls.read(images=[GalleryItem.of(item) for item in listing.items], next_cursor=next_cursor)


class VideosBody(ResponseBody):
    videos: list[GalleryItem]
    images: list[GalleryItem] = Field(description="The same as `videos`.")
    next_cursor: str | None = Field(description="As in GalleryBody.")

    @classmethod
    def of(cls, listing: Listing, next_cursor: str | None) -> Self:
        items = [GalleryItem.of(item) for item in listing.items]
        return cls.read(videos=items, images=items, next_cursor=next_cursor)


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
