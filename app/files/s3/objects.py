"""What is done with objects of an S3 service, by calls of botocore's client."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from app.files.media_store import media_type
from app.files.s3.faults import Fault, Kind, S3Failure

CACHE_CONTROL = "private, max-age=31536000, immutable"  # a file never changes under its name
_CHUNK_BYTES = 1 << 20


def put_object(where: dict[str, str], name: str, data: bytes | BinaryIO, digest: Any, client: Any) -> None:
    if not isinstance(data, bytes):
        data.seek(0)  # of an earlier try
    client.put_object(
        **where,
        Body=data,
        ContentType=media_type(name),
        CacheControl=CACHE_CONTROL,
        Metadata={"sha256": digest.hexdigest()},
        ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
    )


def presigned(parameters: dict[str, str], seconds: int, client: Any) -> str:
    """A URL for reading, signed here: nothing is sent."""
    made: str = client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
    return made


def head_object(where: dict[str, str], client: Any) -> dict[str, Any]:
    head: dict[str, Any] = client.head_object(**where)
    return head


def get_object(wanted: dict[str, str], client: Any) -> tuple[bytes, dict[str, Any]]:
    """The content, or the part that is asked for, and the answer."""
    answer: dict[str, Any] = client.get_object(**wanted)
    with contextlib.closing(answer["Body"]) as body:
        return bytes(body.read()), answer


def whole_object(where: dict[str, str], client: Any) -> bytes:
    data, answer = get_object(where, client)
    _check(answer, hashlib.sha256(data).hexdigest())
    return data


def save_object(where: dict[str, str], target: Path, client: Any) -> None:
    answer = client.get_object(**where)
    digest = hashlib.sha256()
    with contextlib.closing(answer["Body"]) as body, target.open("wb") as file:
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    _check(answer, digest.hexdigest())


def list_objects(parameters: dict[str, Any], client: Any) -> dict[str, Any]:
    page: dict[str, Any] = client.list_objects_v2(**parameters)
    return page


def _check(answer: Mapping[str, Any], digest: str) -> None:
    """Raises S3Failure if what was read is not what was stored. Objects that others stored have no checksum."""
    stored = answer.get("Metadata", {}).get("sha256")
    if stored is not None and stored != digest:
        raise S3Failure(
            Fault(Kind.DAMAGED, "has a file whose SHA-256 is not that of what was stored; restore it from a backup")
        )


def time_of(answer: Mapping[str, Any]) -> float:
    """The time of the service, by whose clock objects are dated."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return datetime.now(UTC).timestamp()
