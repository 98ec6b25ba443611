"""Publish the outputs of a generation: first the files, synced to disk, then rows and COMPLETED in one transaction.

A crash in between leaves files without rows, which maintenance removes; never a row without its file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from app.core.catalog import Media
from app.core.job import Claim, Phase
from app.core.output import Output
from app.core.safety import SafetyResult
from app.errors import Cancelled, DatabaseUnavailable, LeaseLost
from app.files.images import encode_png, encode_thumbnail
from app.files.media import with_manifest
from app.files.media_store import IMAGE_SUFFIX, POSTER_SUFFIX, THUMBNAIL_SUFFIX, VIDEO_SUFFIXES, dated_name
from app.files.metadata import build_manifest, embedded_metadata, marked_mp4, png_text, xmp_of
from app.monitoring.failpoints import failpoint
from app.services.context import AppContext
from app.services.media.removal import remove_files
from app.store.db.ids import new_id
from app.version import __version__

TRY_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Picture:
    """Pixels (uint8 RGB or RGBA, height × width × channels) and their seed."""

    pixels: npt.NDArray[np.uint8]
    seed: int | None
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class Clip:
    """A complete video file, a poster frame and the seed."""

    content: bytes
    mime_type: str
    poster: npt.NDArray[np.uint8]
    seed: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    safety: SafetyResult = SafetyResult.SKIPPED


@dataclass(frozen=True)
class GenerationResult:
    """The result of a generation to publish. `timings` are seconds by phase, shared by `merged` jobs."""

    pictures: Sequence[Picture]
    effective: dict[str, Any]
    versions: dict[str, str]
    timings: Mapping[str, float]
    warnings: Sequence[str] = field(default_factory=tuple)
    vram_peak_bytes: int | None = None
    safety: SafetyResult = SafetyResult.SKIPPED
    clips: Sequence[Clip] = ()
    merged: int = 1

    @property
    def all(self) -> list[Picture | Clip]:
        return [*self.pictures, *self.clips]


def publish(context: AppContext, claim: Claim, made: GenerationResult) -> Sequence[Output]:
    """Write the files and complete the job under `claim`.

    Raises LeaseLost, Cancelled, MediaFull or MediaUnavailable, after removing the files. After any other error they
    stay for maintenance to judge: the commit may have happened.
    """
    started = time.perf_counter()
    outputs: list[Output] = []
    files: dict[str, bytes] = {}
    for index, one in enumerate(made.all):
        output, content = _prepare(context, claim, made, one, index)
        outputs.append(output)
        files |= content
    context.images.publish(files)
    failpoint("after_file_rename")
    timings = {**made.timings, "queued": claim.queued_seconds, Phase.SAVING.value: time.perf_counter() - started}
    try:
        _complete(context, claim, outputs, timings, made)
    except (LeaseLost, Cancelled):  # only these make certain that no row refers to the files
        remove_files(context, files)
        raise
    context.notifications.publish("news", claim.job_id)
    return outputs


def _complete(
    context: AppContext,
    claim: Claim,
    outputs: Sequence[Output],
    timings: Mapping[str, float],
    made: GenerationResult,
) -> None:
    """Commit, and retry while the database is unavailable: an outage shorter than a lease must not cost the work."""
    give_up_at = time.monotonic() + context.settings.lease_seconds
    while True:
        try:
            failpoint("before_commit")
            context.claims.complete(
                claim,
                outputs,
                timings=timings,
                warnings=made.warnings,
                vram_peak_bytes=made.vram_peak_bytes,
                total_steps=_steps(made),
                safety=made.safety,
                merged=made.merged,
            )
            failpoint("after_commit")
            return
        except DatabaseUnavailable:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(TRY_AGAIN_SECONDS)


def _steps(made: GenerationResult) -> int | None:
    """Steps over all pictures, as progress counts them; of an upscaler its tiles."""
    if isinstance(tiles := made.effective.get("tiles"), int):
        return tiles
    steps = made.effective.get("steps_run")
    return steps * len(made.all) if isinstance(steps, int) else None


def _prepare(
    context: AppContext, claim: Claim, made: GenerationResult, one: Picture | Clip, index: int
) -> tuple[Output, dict[str, bytes]]:
    output_id, now = new_id(), datetime.now(UTC)
    pixels = one.pixels if isinstance(one, Picture) else one.poster
    height, width = pixels.shape[:2]
    manifest = build_manifest(
        claim.request,
        seed=one.seed,
        width=width,
        height=height,
        effective=made.effective,
        versions={**made.versions, "cyberimage": __version__},
        job_id=claim.job_id,
        image_id=output_id,
        created_at=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        safety_filter_result=one.safety,
        marked=context.settings.mark_ai_generated,
    )
    if isinstance(one, Clip):
        manifest["video"] = dict(one.facts)
    inside = embedded_metadata(manifest, whole=context.settings.embed_metadata)
    kind = _kind_of(one, inside)
    path, thumbnail_path = dated_name(output_id, kind.suffix, now), dated_name(output_id, kind.thumbnail_suffix, now)
    output = Output(
        id=output_id,
        job_id=claim.job_id,
        index=index,
        media=kind.media,
        model_id=claim.request.model_id,
        path=path,
        thumbnail_path=thumbnail_path,
        mime_type=kind.mime_type,
        width=width,
        height=height,
        bytes=len(kind.content),
        sha256=hashlib.sha256(kind.content).hexdigest(),
        seed=one.seed,
        manifest=manifest,
    )
    return output, {path: kind.content, thumbnail_path: encode_thumbnail(pixels, xmp_of(inside))}


@dataclass(frozen=True)
class _File:
    media: Media
    mime_type: str
    suffix: str
    thumbnail_suffix: str
    content: bytes


def _kind_of(one: Picture | Clip, inside: dict[str, Any]) -> _File:
    """The file to write, with `inside` as embedded metadata."""
    if isinstance(one, Picture):
        content = encode_png(one.pixels, png_text(inside))
        return _File("image", "image/png", IMAGE_SUFFIX, THUMBNAIL_SUFFIX, content)
    content = with_manifest(one.content, one.mime_type, inside)
    if one.mime_type == "video/mp4" and (xmp := xmp_of(inside)):  # WebM carries the manifest only
        content = marked_mp4(content, xmp)
    return _File("video", one.mime_type, VIDEO_SUFFIXES[one.mime_type], POSTER_SUFFIX, content)
