"""Faults between us and an S3 server: they are tried again, told apart, and leave nothing half done."""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import Path

import botocore.exceptions
import httpx
import pytest

from app.errors import MediaDamaged, MediaFull, MediaUnavailable, MediaUnreadable
from app.files.s3 import store as store_module
from app.files.s3.client import S3Calls
from app.files.s3.faults import Fault, Kind, fault_of
from app.files.s3.store import S3Store
from tests.s3_service import KEY, SECRET, FaultyProxy, S3Server, access, client
from tests.s3_service import store as s3_store

NAME = "2026/01/02/a.png"
PASSING = ["slow_down", "lost", "dead", "silent"]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def store(s3_proxy: FaultyProxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A call without an answer is given up after half a second, a store after some tries."""
    monkeypatch.setattr(store_module, "READ_PATIENCE_SECONDS", 5.0)
    return s3_store(s3_proxy.url, bucket, timeout=0.5)


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("method", ["HEAD", "PUT"])
def test_storing_is_tried_again(
    store: S3Store, s3_proxy: FaultyProxy, s3_server: S3Server, bucket: str, fault: str, method: str
) -> None:
    s3_proxy.faults.extend([(method, fault)] * 2)
    store.publish({NAME: b"picture"})
    assert not s3_proxy.faults
    assert s3_server.keys(bucket) == [NAME]
    assert store.read(NAME) == b"picture"


@pytest.mark.parametrize("fault", [*PASSING, "cut"])
def test_reading_is_tried_again(store: S3Store, s3_proxy: FaultyProxy, tmp_path: Path, fault: str) -> None:
    store.publish({NAME: b"picture"})
    s3_proxy.faults.extend([("GET", fault)] * 2)
    assert store.read(NAME) == b"picture"
    s3_proxy.faults.append(("GET", fault))
    with store.open(NAME).content as file:
        assert file.read() == b"picture"
    s3_proxy.faults.append(("GET", fault))
    store.copy_to(NAME, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"picture"
    s3_proxy.faults.append(("GET", fault))
    assert list(store.older_than(-60.0)) == [NAME]
    assert not s3_proxy.faults


def test_while_the_store_is_away_nothing_is_stored_and_it_is_told(
    s3_proxy: FaultyProxy, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "READ_PATIENCE_SECONDS", 0.5)
    store = s3_store(s3_proxy.url, bucket, patience=0.5)
    store.publish({NAME: b"picture"})
    s3_proxy.away.set()
    with pytest.raises(MediaUnavailable, match="could not be stored: the media store broke the connection") as refused:
        store.publish({"2026/01/02/b.png": b"x"})
    assert (refused.value.code, refused.value.transient, refused.value.counted) == ("storage_unavailable", True, False)
    assert store.problem(0.0) == "the media store broke the connection"
    assert store.refusal() is None  # a start goes on: it may pass
    for read in (store.read, store.open, store.size):
        with pytest.raises(MediaUnreadable, match="broke the connection") as unreadable:
            read(NAME)
        assert (unreadable.value.status, unreadable.value.retry_after) == (503, 5)
    with pytest.raises(MediaUnavailable, match="could not be removed"):
        store.remove(NAME)
    s3_proxy.away.clear()
    assert store.problem(0.0) is None
    store.publish({"2026/01/02/b.png": b"x"})
    assert s3_server.keys(bucket) == [NAME, "2026/01/02/b.png"]


def test_reads_fail_at_once_after_one_that_failed_for_good(
    s3_proxy: FaultyProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "READ_PATIENCE_SECONDS", 0.0)
    now = [0.0]
    store = S3Store(bucket, "", S3Calls(access(s3_proxy.url).client), patience=0.0, clock=lambda: now[0])
    s3_proxy.away.set()
    for _ in range(2):
        with pytest.raises(MediaUnreadable):
            store.read(NAME)
    asked = len(s3_proxy.requests)
    assert asked == 1
    s3_proxy.away.clear()
    now[0] += store_module.AWAY_SECONDS
    with pytest.raises(FileNotFoundError):
        store.read(NAME)


def test_a_publication_that_fails_half_way_leaves_nothing(
    s3_proxy: FaultyProxy, s3_server: S3Server, bucket: str
) -> None:
    store = s3_store(s3_proxy.url, bucket, patience=0.0)
    s3_proxy.faults.extend([("PUT", ""), ("PUT", "lost")])
    with pytest.raises(MediaUnavailable):
        store.publish({NAME: b"x", "2026/01/02/a.thumbnail.webp": b"y"})
    assert s3_server.keys(bucket) == []


def test_a_file_that_is_damaged_is_not_given_out(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    store = s3_store(s3_server.url, bucket)
    client(s3_server.url).put_object(Bucket=bucket, Key=NAME, Body=b"other", Metadata={"sha256": "0" * 64})
    for read in (store.read, lambda name: store.copy_to(name, tmp_path / "copy")):
        with pytest.raises(MediaDamaged, match="not that of what was stored") as damaged:
            read(NAME)
        assert not damaged.value.transient  # a job that needs it fails
    assert list(tmp_path.iterdir()) == []


def test_the_server_is_told_what_to_compare(store: S3Store, s3_proxy: FaultyProxy) -> None:
    store.publish({NAME: b"picture"})
    headers = next(headers for method, _, headers in s3_proxy.requests if method == "PUT")
    digest = hashlib.sha256(b"picture")
    assert headers["X-Amz-Content-SHA256"] == digest.hexdigest()  # part of the signature
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert headers["x-amz-meta-sha256"] == digest.hexdigest()
    assert headers["Content-Type"] == "image/png"
    assert not [name for name in headers if "crc" in name.lower() or "trailer" in name.lower()]


@pytest.mark.parametrize(
    ("fault", "sentence"), [("denied", "refuses the access key, or it may not do this; check AWS_ACCESS_KEY_ID")]
)
def test_what_will_not_pass_refuses_a_start(store: S3Store, s3_proxy: FaultyProxy, fault: str, sentence: str) -> None:
    s3_proxy.faults.append(("*", fault))
    assert sentence in str(store.refusal())


def test_a_bucket_that_is_not_there_refuses_a_start(s3_server: S3Server) -> None:
    store = s3_store(s3_server.url, "no-such-bucket")
    assert store.refusal() == (
        "MEDIA_STORE=s3://no-such-bucket: the media store has no such bucket; create it, or correct MEDIA_STORE."
    )
    with pytest.raises(MediaUnavailable, match="has no such bucket"):
        store.publish({NAME: b"x"})


def test_without_a_key_a_start_is_refused(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    without = access(s3_server.url)
    object.__setattr__(without, "access_key", "")
    object.__setattr__(without, "secret_key", "")
    store = S3Store(bucket, "", S3Calls(without.client), patience=0.0)
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(store.refusal())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", Kind.MISSING),
        (404, "404", Kind.MISSING),
        (404, "NoSuchBucket", Kind.WRONG),
        (403, "403", Kind.WRONG),
        (403, "SignatureDoesNotMatch", Kind.WRONG),
        (301, "PermanentRedirect", Kind.WRONG),
        (400, "AuthorizationHeaderMalformed", Kind.WRONG),
        (403, "RequestTimeTooSkewed", Kind.WRONG),
        (412, "PreconditionFailed", Kind.WRONG),
        (500, "InternalError", Kind.PASSING),
        (502, "", Kind.PASSING),
        (503, "SlowDown", Kind.PASSING),
        (429, "TooManyRequests", Kind.PASSING),
        (400, "RequestTimeout", Kind.PASSING),
        (400, "BadDigest", Kind.PASSING),
        (400, "XAmzContentSHA256Mismatch", Kind.PASSING),
        (507, "XMinioStorageFull", Kind.FULL),
        (403, "QuotaExceeded", Kind.FULL),
    ],
)
def test_answers_are_told_apart(status: int, code: str, kind: Kind) -> None:
    error = Exception()
    error.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    fault = fault_of(error)
    assert fault is not None
    assert fault.kind is kind


def test_exceptions_of_the_library_have_their_fault() -> None:
    from botocore import exceptions

    for name in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"):
        fault = fault_of(getattr(exceptions, name)(endpoint_url="http://x"))
        assert fault is not None
        assert fault.kind is Kind.PASSING
    broken = fault_of(exceptions.SSLError(endpoint_url="https://x", error="certificate verify failed"))
    assert broken is not None
    assert broken.kind is Kind.WRONG
    assert fault_of(RuntimeError("a mistake of ours")) is None


def test_a_full_store_is_told(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    error = Exception()
    error.response = {"Error": {"Code": "XMinioStorageFull"}, "ResponseMetadata": {"HTTPStatusCode": 507}}

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(store._calls.client(), "put_object", full)
    with pytest.raises(MediaFull, match="is full"):
        store.publish({NAME: b"x"})
    assert "is full" in str(store.problem(0.0))


def test_a_url_opens_the_file_for_a_while(store: S3Store, s3_proxy: FaultyProxy) -> None:
    store.publish({NAME: b"picture"})
    url = store.url(NAME, 60, mime_type="image/png", download_name="boat.png")
    assert url is not None
    assert "X-Amz-Expires=60" in url
    assert SECRET not in url
    answer = httpx.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"picture", "image/png")
    assert answer.headers["content-disposition"] == "attachment; filename=boat.png"
    part = httpx.get(url, headers={"Range": "bytes=2-3"})
    assert (part.status_code, part.content) == (206, b"ct")


def test_secrets_are_logged_nowhere(store: S3Store, s3_proxy: FaultyProxy, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        s3_proxy.faults.append(("PUT", "slow_down"))
        store.publish({NAME: b"picture"})
        s3_proxy.faults.append(("PUT", "denied"))
        with pytest.raises(MediaUnavailable) as refused:
            store.publish({"2026/01/02/b.png": b"picture"})
    for text in (caplog.text, str(refused.value)):
        assert SECRET not in text
        assert KEY not in text
        assert "Signature" not in text


def test_deleting_does_not_wait_for_a_store_that_is_known_to_be_away(
    s3_proxy: FaultyProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "READ_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(store_module, "AWAY_SECONDS", 600.0)
    store = s3_store(s3_proxy.url, bucket, patience=0.2)
    s3_proxy.away.set()
    for _ in range(2):
        with pytest.raises(MediaUnavailable):
            store.remove(NAME)
    s3_proxy.away.clear()
    with pytest.raises(MediaUnavailable):  # it is not asked again for a while
        store.remove(NAME)


@pytest.mark.parametrize("name", ["InvalidRegionError", "ConfigParseError", "InvalidConfigError"])
def test_what_botocore_refuses_by_itself_is_a_wrong_setting(name: str) -> None:
    error = getattr(botocore.exceptions, name)(region_name="us east!", error_msg="x", path="x")
    assert fault_of(error) == Fault(Kind.WRONG, f"cannot be used as it is set up ({name})")


def test_tokens_that_could_not_be_fetched_may_come_later() -> None:
    error = botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="x")
    fault = fault_of(error)
    assert fault is not None
    assert fault.kind is Kind.PASSING
    assert fault_of(ValueError("x")) is None
