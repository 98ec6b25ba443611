"""A published picture or video: file, checksum and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.core.catalog import Media
from app.core.safety import SafetyResult


@dataclass(frozen=True)
class Output:
    """A row of the outputs table. `path` and `thumbnail_path` are relative to the media root, with forward slashes.

    `bytes` is the size of the file, `sha256` its hexadecimal digest. `manifest` has all that is needed to repeat it.
    `owner` is the `client_id` of the job; the store fills it in. `seed` is None if a provider's model was sent none.
    `deleted_at` is since when it lies in the bin, seconds since the epoch; `deletion_id` names the request that put it
    there.
    """

    id: str
    job_id: str
    index: int
    media: Media
    model_id: str
    path: str
    thumbnail_path: str
    mime_type: str
    width: int
    height: int
    bytes: int
    sha256: str
    seed: int | None
    created_at: float = 0.0
    manifest: dict[str, Any] = field(default_factory=dict)
    favorite: bool = False
    owner: str = ""
    deleted_at: float | None = None
    deletion_id: str | None = None

    @property
    def safety_filter_result(self) -> SafetyResult:
        return SafetyResult(self.manifest.get("safety_filter_result", SafetyResult.SKIPPED))
