"""What the server answers, as objects. `raw` is the whole JSON: see docs/API_REFERENCE.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class Image:
    """A finished image or video. `url` is its path on the server, `seed` makes it again."""

    id: str
    url: str
    mime_type: str
    width: int
    height: int
    seed: int | None
    sha256: str
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Image:
        names = ("url", "mime_type", "width", "height", "seed", "sha256")
        return cls(id=raw["image_id"], raw=raw, **{name: raw[name] for name in names})


@dataclass(frozen=True)
class Job:
    """A generation. `status` is PENDING, PROCESSING, COMPLETED, FAILED or CANCELLED; `position` its place in the queue
    (1 = next), `eta_seconds` the estimate until it is done, `percent` its progress (0 to 100)."""

    id: str
    status: str
    position: int | None
    eta_seconds: float | None
    percent: int
    images: tuple[Image, ...]
    error_code: str | None
    error_message: str | None
    warnings: tuple[str, ...]
    raw: dict[str, Any] = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Job:
        """From the response to a submission, a status or an event."""
        error = raw.get("error") or {}
        return cls(
            id=raw["job_id"],
            status=raw["status"],
            position=raw.get("position"),
            eta_seconds=raw.get("eta_seconds"),
            percent=(raw.get("progress") or {}).get("percent", 0),
            images=tuple(Image.of(one) for one in raw.get("images") or ()),
            error_code=error.get("code"),
            error_message=error.get("message"),
            warnings=tuple(raw.get("warnings") or ()),
            raw=raw,
        )


@dataclass(frozen=True)
class Event:
    """A server-sent event of a job: `name` is status, progress or preview, `data` its JSON."""

    name: str
    data: dict[str, Any]
