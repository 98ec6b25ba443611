"""What the server answers, as objects. `raw` is the whole JSON: see docs/API_REFERENCE.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cyberimage.errors import Error

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


def _member(raw: Any, name: str, *kinds: type, optional: bool = False) -> Any:
    """The member `name` of a JSON object, which is of one of these types, or may be absent or null. Raises Error."""
    value = raw.get(name) if isinstance(raw, dict) else None
    if (optional and value is None and isinstance(raw, dict)) or isinstance(value, kinds):
        return value
    raise Error(f"The answer has no usable {name}; is it a CyberImage?")


def _texts(raw: dict[str, Any], name: str) -> tuple[str, ...]:
    """Raises Error unless the member is a list of strings, or absent."""
    found = _member(raw, name, list, optional=True) or []
    if not all(isinstance(one, str) for one in found):
        raise Error(f"The answer has no usable {name}; is it a CyberImage?")
    return tuple(found)


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
        """Raises Error for an answer of another form."""
        return cls(
            id=_member(raw, "image_id", str),
            url=_member(raw, "url", str),
            mime_type=_member(raw, "mime_type", str),
            width=_member(raw, "width", int),
            height=_member(raw, "height", int),
            seed=_member(raw, "seed", int, optional=True),
            sha256=_member(raw, "sha256", str),
            raw=raw,
        )


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
        """From the response to a submission, a status or an event. Raises Error for an answer of another form."""
        error = _member(raw, "error", dict, optional=True) or {}
        progress = _member(raw, "progress", dict, optional=True) or {}
        return cls(
            id=_member(raw, "job_id", str),
            status=_member(raw, "status", str),
            position=_member(raw, "position", int, optional=True),
            eta_seconds=_member(raw, "eta_seconds", int, float, optional=True),
            percent=_member(progress, "percent", int, optional=True) or 0,
            images=tuple(Image.of(one) for one in _member(raw, "images", list, optional=True) or ()),
            error_code=_member(error, "code", str, optional=True),
            error_message=_member(error, "message", str, optional=True),
            warnings=_texts(raw, "warnings"),
            raw=raw,
        )


@dataclass(frozen=True)
class Event:
    """A server-sent event of a job: `name` is status, progress or preview, `data` its JSON."""

    name: str
    data: dict[str, Any]
