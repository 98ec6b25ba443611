"""A server that checks signatures and rights: what a key needs, and what is said of one that lacks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import botocore.session
import httpx
import pytest

from app.errors import MediaUnavailable, MediaUnreadable
from app.files.s3.client import S3Access, S3Calls
from app.files.s3.store import S3Store
from tests.s3_service import S3Server, access

NAME = "2026/01/02/a.png"
NEEDED = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket")  # as docs/MEDIA_STORE.md has them
Key = tuple[str, str]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, str, Callable[[Sequence[str]], Key]]]:
    """A server, its bucket, and the keys of users with some rights each."""
    server = S3Server(tmp_path_factory.mktemp("strict"))
    try:
        bucket = server.new_bucket()
        users = botocore.session.get_session().create_client(
            "iam",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="root",
            aws_secret_access_key="root",
        )
        keys = {actions: _key_of_a_user(users, actions) for actions in _rights()}
        httpx.post(f"{server.url}/moto-api/reset-auth", content="0")  # from now on it checks
        yield server, bucket, lambda actions: keys[tuple(actions)]
    finally:
        server.close()


def _rights() -> list[tuple[str, ...]]:
    return [NEEDED, *(_without(one) for one in NEEDED if one != "s3:GetObject")]


def _without(action: str) -> tuple[str, ...]:
    return tuple(each for each in NEEDED if each != action)


def _key_of_a_user(users, actions: Sequence[str]) -> Key:
    name = "-".join(action.partition(":")[2] for action in actions)
    users.create_user(UserName=name)
    allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    users.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
    key = users.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def store_of(strict, key: Key) -> S3Store:
    server, bucket, _ = strict
    by_key = S3Access(**{**vars(access(server.url)), "access_key": key[0], "secret_key": key[1]})
    return S3Store(bucket, "", S3Calls(by_key.client), patience=0.0)


def test_a_key_with_the_rights_of_the_manual_is_enough(strict) -> None:
    store = store_of(strict, strict[2](NEEDED))
    assert store.refusal() is None
    store.publish({NAME: b"picture"})
    assert store.read(NAME) == b"picture"
    assert list(store.older_than(-60.0)) == [NAME]
    store.remove(NAME)
    assert store.size(NAME) is None


@pytest.mark.parametrize("lacking", [one for one in NEEDED if one != "s3:GetObject"])
def test_a_key_that_lacks_one_ends_the_start(strict, lacking: str) -> None:
    refusal = store_of(strict, strict[2](_without(lacking))).refusal()
    assert "refuses the access key, or it may not do this" in str(refusal)


@pytest.mark.parametrize("key", ["unknown", "wrong secret"])
def test_a_key_that_is_wrong_ends_the_start_and_is_no_missing_picture(strict, key: str) -> None:
    known, _ = strict[2](NEEDED)
    store = store_of(strict, ("AKIAUNKNOWN" if key == "unknown" else known, "x" * 40))
    assert "refuses the access key" in str(store.refusal())
    with pytest.raises(MediaUnreadable, match="refuses the access key"):
        store.read(NAME)
    with pytest.raises(MediaUnavailable, match="refuses the access key"):
        store.publish({NAME: b"x"})
