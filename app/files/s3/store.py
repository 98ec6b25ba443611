"""A media store in a bucket of an S3 service. An object appears complete or not at all, so no temporary names are
needed; an object whose answer was lost is stored once more, with the same bytes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from app.errors import MediaDamaged, MediaFull, MediaUnavailable, MediaUnreadable
from app.files.media_store import AlreadyPublished, MediaFile, checked_name
from app.files.probe import MAX_AGE_SECONDS, TEMPORARY, Probe
from app.files.s3.client import S3Calls
from app.files.s3.faults import Fault, Kind, S3Failure
from app.files.s3.objects import (
    get_object,
    head_object,
    list_objects,
    presigned,
    put_object,
    save_object,
    time_of,
    whole_object,
)
from app.files.s3.reader import open_reader
from app.monitoring.failpoints import failpoint

READ_PATIENCE_SECONDS = 3.0  # a client waits meanwhile, and a thread of the API with it
AWAY_SECONDS = 2.0  # after a call that failed others fail at once for so long, or as long as it took: no thread waits
HEALTHY_SECONDS = 15.0  # how long a good probe counts: each is a call that may cost money
_NAME = re.compile(r"[A-Za-z0-9._/-]+")

log = logging.getLogger("cyberimage.media")
Result = TypeVar("Result")


class S3Store:
    """Objects of `bucket` whose keys begin with `prefix` (empty, or ending with a slash). Storing is tried again for
    `patience` seconds. URLs are made with the client of `make_public_client`."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        calls: S3Calls,
        *,
        patience: float,
        make_public_client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._calls = calls
        self._signing = calls if make_public_client is None else S3Calls(make_public_client)
        self._patience = patience
        self._clock = clock
        self._away_until = float("-inf")
        self._away = Fault(Kind.PASSING, "")
        self._probe_name = f"{TEMPORARY}{uuid.uuid4().hex}"  # the same each time: one whose answer was lost is replaced
        self._probe = Probe(self._probed, clock, healthy_seconds=HEALTHY_SECONDS)

    def publish(self, files: Mapping[str, bytes]) -> None:
        keys = {name: self._key(name) for name in files}
        ours: list[str] = []  # to remove on failure
        failpoint("before_write")
        try:
            with _writing_errors():
                for name, data in files.items():
                    if self._is_there(keys[name]):
                        raise AlreadyPublished(errno.EEXIST, "already published", name)
                    ours.append(keys[name])
                    self._put(keys[name], name, data, hashlib.sha256(data))
        except BaseException:
            with contextlib.suppress(S3Failure):  # what made this fail may do so here too; the sweep removes the rest
                for key in ours:
                    self._delete(key, patience=0.0)
            raise

    def put_file(self, name: str, source: Path) -> None:
        key = self._key(name)
        with _writing_errors():
            if not self._is_there(key):
                with source.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
                    self._put(key, name, file, digest)

    def open(self, name: str) -> MediaFile:
        key = self._key(name)
        head = self._reading(partial(head_object, self._object(key)))
        size = int(head["ContentLength"])
        fetch = partial(self._fetch, key, head["ETag"])
        return MediaFile(open_reader(fetch, size), size, head["LastModified"].timestamp())

    def read(self, name: str) -> bytes:
        return self._reading(partial(whole_object, self._object(self._key(name))))

    def copy_to(self, name: str, target: Path) -> int:
        key = self._key(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        try:
            self._reading(partial(save_object, self._object(key), unfinished), self._patience)
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return target.stat().st_size

    def size(self, name: str) -> int | None:
        try:
            return int(self._reading(partial(head_object, self._object(self._key(name))))["ContentLength"])
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        key = self._key(name)
        began = self._clock()
        with _writing_errors("removed"):
            if began < self._away_until:
                raise S3Failure(self._away)
            try:
                self._delete(key, READ_PATIENCE_SECONDS)
            except S3Failure as failure:
                self._note_fault(failure.fault, began)
                raise

    def older_than(self, seconds: float) -> Iterator[str]:
        for page in self._pages():
            newest = time_of(page) - seconds
            for found in page.get("Contents", ()):
                if found["LastModified"].timestamp() < newest:
                    yield found["Key"].removeprefix(self._prefix)

    def url(self, name: str, seconds: int, *, mime_type: str, download_name: str | None = None) -> str:
        parameters = {
            "Bucket": self._bucket,
            "Key": self._key(name),
            "ResponseContentType": mime_type,
            "ResponseCacheControl": f"private, max-age={seconds}",  # no longer than the URL
        }
        if download_name is not None:
            parameters["ResponseContentDisposition"] = f"attachment; filename={download_name}"
        try:
            return self._signing.call(partial(presigned, parameters, seconds), 0.0)
        except S3Failure as failure:  # there is no access key to sign with
            raise _unreadable(failure.fault) from None

    def refusal(self) -> str | None:
        fault = self._try_listing() or self._try_out()
        if fault is None or fault.kind in (Kind.PASSING, Kind.FULL):
            if fault is not None:
                log.warning("The media store %s. Jobs wait until it does.", fault.sentence)
            return None
        return f"MEDIA_STORE=s3://{self._bucket}: the media store {fault.sentence}."

    def problem(self, max_age: float = MAX_AGE_SECONDS) -> str | None:
        return self._probe.problem(max_age)

    def free_bytes(self) -> int | None:
        return None

    def used_percent(self) -> float | None:
        return None

    def _probed(self) -> str | None:
        fault = self._try_out()
        return None if fault is None else f"the media store {fault.sentence}"

    def _try_listing(self) -> Fault | None:
        """What keeps the sweep of orphans from listing objects."""
        one = {"Bucket": self._bucket, "Prefix": self._prefix, "MaxKeys": 1}
        try:
            self._calls.call(partial(list_objects, one), 0.0)
        except S3Failure as failure:
            return failure.fault
        return None

    def _try_out(self) -> Fault | None:
        """Store a small object and remove it. Returns what goes wrong."""
        data, key = b"CyberImage", self._key(self._probe_name)
        try:
            self._calls.call(partial(put_object, self._object(key), self._probe_name, data, hashlib.sha256(data)), 0.0)
            self._delete(key, 0.0)
        except S3Failure as failure:
            return failure.fault
        return None

    def _key(self, name: str) -> str:
        path = checked_name(name).as_posix()
        if not _NAME.fullmatch(path):
            raise ValueError(f"{name!r} is not a path inside the media folder")
        return self._prefix + path

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": key}

    def _is_there(self, key: str) -> bool:
        try:
            self._calls.call(partial(head_object, self._object(key)), self._patience)
        except S3Failure as failure:
            if failure.fault.kind is Kind.MISSING:
                return False
            raise
        return True

    def _put(self, key: str, name: str, data: bytes | BinaryIO, digest: Any) -> None:
        self._calls.call(partial(put_object, self._object(key), name, data, digest), self._patience)

    def _delete(self, key: str, patience: float) -> None:
        self._calls.call(lambda client: client.delete_object(**self._object(key)), patience)

    def _fetch(self, key: str, etag: str, first: int, last: int) -> bytes:
        part = {"Range": f"bytes={first}-{last}", "IfMatch": etag}
        data, _ = self._reading(partial(get_object, self._object(key) | part))
        return data[: last - first + 1]

    def _pages(self) -> Iterator[dict[str, Any]]:
        wanted = {"Bucket": self._bucket, "Prefix": self._prefix}
        while True:
            page = self._reading(partial(list_objects, wanted), self._patience)
            yield page
            if not page.get("IsTruncated"):
                return
            wanted |= {"ContinuationToken": page["NextContinuationToken"]}

    def _reading(self, work: Callable[[Any], Result], patience: float | None = None) -> Result:
        """The result of `work`, which reads with a client. Raises FileNotFoundError or MediaUnreadable."""
        began = self._clock()
        if began < self._away_until:
            raise _unreadable(self._away)
        try:
            return self._calls.call(work, READ_PATIENCE_SECONDS if patience is None else patience)
        except S3Failure as failure:
            fault = failure.fault
            if fault.kind is Kind.MISSING:
                raise FileNotFoundError(errno.ENOENT, fault.sentence) from None
            if fault.kind is Kind.DAMAGED:
                raise MediaDamaged(f"The media store {fault.sentence}.") from None
            self._note_fault(fault, began)
            raise _unreadable(fault) from None

    def _note_fault(self, fault: Fault, began: float) -> None:
        if fault.kind is Kind.PASSING:
            ended = self._clock()
            self._away_until, self._away = ended + max(AWAY_SECONDS, ended - began), fault


def _unreadable(fault: Fault) -> MediaUnreadable:
    return MediaUnreadable(f"The media store {fault.sentence}. Try again in a moment.", retry_after=5)


@contextmanager
def _writing_errors(done: str = "stored") -> Iterator[None]:
    try:
        yield
    except S3Failure as failure:
        sentence = f"The picture could not be {done}: the media store {failure.fault.sentence}."
        raise (MediaFull if failure.fault.kind is Kind.FULL else MediaUnavailable)(sentence) from None
