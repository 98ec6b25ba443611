"""The gallery: list pictures, and generations without pictures; open or remove a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from app.core.catalog import Media
from app.core.job import Job, JobStatus
from app.core.output import Output
from app.core.prompts import matches
from app.core.request import spec_for
from app.core.tags import tag_of
from app.errors import ImageNotFound, UnknownModel
from app.files.media_store import MediaFile
from app.services.context import AppContext
from app.services.media.removal import remove_files
from app.store.media.filters import GalleryQuery, Sort, place_of

JOBS_PER_QUERY = 200  # jobs read per query while filtering
MAX_QUERIES = 5  # queries per page; then the page ends even if short, and its cursor continues

Place = tuple[float, str]  # where a page ended: the order (created_at, or a job's seq) and id of its last item


@dataclass(frozen=True)
class Page:
    """`next` is the `after` of the following page, None on the last one."""

    outputs: Sequence[Output]
    next: tuple[float, str] | None


def page(context: AppContext, query: GalleryQuery) -> Page:
    """One page of outputs, `query.limit` at most."""
    found = context.outputs.page(replace(query, limit=query.limit + 1))  # one more, to see whether more follow
    outputs = found[: query.limit]
    more = len(found) > query.limit
    if not more:
        return Page(outputs, None)
    last = outputs[-1]
    return Page(outputs, place_of(query, last.created_at, last.deleted_at, last.id))


@dataclass(frozen=True)
class Filter:
    """None matches everything. `search`: words that must all occur in the prompt, in any order and case; `owner`: a
    client_id; `since` (inclusive) and `until` (exclusive): seconds since the epoch; `error_code`: of failed jobs. What
    follows it is of pictures only: `tag` in any case, `binned` those in the bin, `deletion_id` of one deletion."""

    model_id: str | None = None
    media: Media | None = None
    search: str | None = None
    owner: str | None = None
    since: float | None = None
    until: float | None = None
    error_code: str | None = None
    seed: int | None = None
    favorite: bool | None = None
    tag: str | None = None
    binned: bool = False
    deletion_id: str | None = None

    @property
    def is_of_pictures(self) -> bool:
        """Whether it asks for something that only pictures have."""
        asked = (self.seed, self.favorite, self.tag, self.deletion_id)
        return self.binned or any(value is not None for value in asked)


@dataclass(frozen=True)
class ImageItem:
    output: Output
    prompt: str
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class JobItem:
    """A generation without a picture: pending, running, failed or cancelled."""

    job: Job
    media: Media


@dataclass(frozen=True)
class Listing:
    """`next` is the `after` of the following page, None at the end."""

    items: Sequence[ImageItem | JobItem]
    next: Place | None


def browse(
    context: AppContext,
    wanted: Filter,
    *,
    status: JobStatus,
    limit: int,
    after: Place | None = None,
    sort: Sort = "newest",
) -> Listing:
    """Newest first, or as `sort` says: the pictures when `status` is COMPLETED, else the generations in that status,
    which come newest first."""
    if status is not JobStatus.COMPLETED:
        if wanted.is_of_pictures:
            return Listing((), None)
        if wanted.model_id is not None:
            wanted = replace(wanted, model_id=context.catalog.id_of(wanted.model_id))
        return _browse_jobs(context, wanted, status, limit, after)
    found = page(context, picture_query(context, wanted, limit=limit, after=after, sort=sort))
    tags = context.tags.of([output.id for output in found.outputs])
    items = [ImageItem(each, each.manifest.get("prompt", ""), tags.get(each.id, ())) for each in found.outputs]
    return Listing(items, found.next)


def count(context: AppContext, wanted: Filter) -> int:
    """How many pictures match."""
    return context.outputs.count(picture_query(context, wanted))


def picture_query(context: AppContext, wanted: Filter, **page: Any) -> GalleryQuery:
    """The query of the pictures that match; `page` are the fields of GalleryQuery beside the filter."""
    fields = {name: value for name, value in vars(wanted).items() if name != "error_code"}  # pictures have none
    if wanted.model_id is not None:
        fields["model_id"] = context.catalog.id_of(wanted.model_id)
    if wanted.tag is not None:
        fields["tag"] = tag_of(wanted.tag).key
    return GalleryQuery(**fields, **page)


def _browse_jobs(context: AppContext, wanted: Filter, status: JobStatus, limit: int, after: Place | None) -> Listing:
    items: list[JobItem] = []
    before = None if after is None else int(max(0.0, min(after[0], 2.0**62)))
    for _ in range(MAX_QUERIES):
        jobs = context.jobs.newest([status], limit=JOBS_PER_QUERY, before_seq=before, client_id=wanted.owner)
        for job in jobs:
            item = JobItem(job, media_of(context, job))
            if _matches_filter(wanted, item):
                if len(items) == limit:
                    return Listing(items, _place(items[-1].job))
                items.append(item)
        if len(jobs) < JOBS_PER_QUERY:
            return Listing(items, None)
        before = jobs[-1].seq
    return Listing(items, _place(jobs[-1]))


def _place(job: Job) -> Place:
    return float(job.seq), job.id


def _matches_filter(wanted: Filter, item: JobItem) -> bool:
    request = item.job.request
    return (
        wanted.model_id in (None, request.model_id)
        and wanted.media in (None, item.media)
        and matches(wanted.search or "", request.prompt)
        and wanted.error_code in (None, item.job.error_code)
        and (wanted.since or 0.0) <= item.job.created_at < (wanted.until or inf)
    )


def media_of(context: AppContext, job: Job) -> Media:
    """What `job` makes; an image if its model is in the catalogue no more."""
    try:
        return spec_for(context.catalog, job.request).media
    except UnknownModel:  # removed from the catalogue
        return "image"


def open_file(context: AppContext, output: Output, *, thumbnail: bool = False) -> MediaFile:
    """`output`'s file, open. Raises ImageNotFound if the file is missing from the store, MediaUnreadable."""
    with _missing_file_is_told():
        return context.images.open(output.thumbnail_path if thumbnail else output.path)


def read_file(context: AppContext, output: Output, *, thumbnail: bool = False) -> bytes:
    """The content of `output`'s file. Raises as `open_file` does."""
    with _missing_file_is_told():
        return context.images.read(output.thumbnail_path if thumbnail else output.path)


@contextmanager
def _missing_file_is_told() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ImageNotFound("The file of this image is missing from the images folder.") from None


def remove(context: AppContext, image_id: str) -> None:
    """Remove row and files for good, the row first: a row never lacks its file; also of a picture in the bin. Raises
    ImageNotFound, Gone."""
    output = context.outputs.get(image_id, binned=True)
    context.outputs.remove(image_id)
    remove_files(context, (output.path, output.thumbnail_path))
