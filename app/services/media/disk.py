"""Space and state of the disks of media and database: what `/readyz` reports, and which jobs are refused."""

from __future__ import annotations

from app.core.request import GenerationRequest
from app.core.tasks import UPSCALE
from app.errors import DiskFull
from app.files.probe import LEAST_FREE_BYTES
from app.services.context import AppContext

_BYTES_PER_PIXEL = 3  # of a PNG at worst
_USUAL_PIXELS = 1024 * 1024  # of a request without a size


def disk_problem(context: AppContext) -> str | None:
    """What keeps pictures or jobs from being stored, naming the folder; None if nothing does."""
    if problem := context.images.problem():
        return problem
    free = context.images.free_bytes()
    if free is not None and free < context.settings.disk_floor_bytes:
        return "less free space than DISK_FLOOR_BYTES; delete pictures or lower the floor"
    if context.database.free_bytes() < LEAST_FREE_BYTES:
        return "the database's disk is full; free some space there"
    return None


def refuse_when_full(context: AppContext, request: GenerationRequest) -> None:
    """Raises DiskFull when the pictures of `request`, or the job itself, would find no space."""
    free, floor = context.images.free_bytes(), context.settings.disk_floor_bytes
    if free is not None and free < floor:
        raise DiskFull("The disk is almost full: new jobs are refused until there is space. Delete some pictures.")
    if free is not None and free < max(LEAST_FREE_BYTES, _size_of(request)):
        raise DiskFull(f"The disk is full: {free:,} bytes are left for pictures. Delete some pictures.")
    if context.database.free_bytes() < LEAST_FREE_BYTES:
        raise DiskFull("The database's disk is full: new jobs are refused until there is space.")


def _size_of(request: GenerationRequest) -> int:
    """Bytes that the pictures may take; videos are compressed too well for an estimate."""
    if request.num_frames is not None:
        return 0
    pixels = request.width * request.height if request.width and request.height else _USUAL_PIXELS
    if request.upscale is not None and request.task != UPSCALE:  # the size is that of the first pass
        pixels = round(pixels * request.upscale.factor**2)
    return request.num_images * pixels * _BYTES_PER_PIXEL
