"""Settings of the media store: where pictures are kept, and what is refused."""

from __future__ import annotations

import pytest

from app.config import load_settings
from app.errors import ConfigurationError
from app.files.open_store import open_media_store
from app.files.s3.client import S3Access

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hidden"}


def settings(**given: str):
    return load_settings(given, None)


def test_a_folder_is_the_default() -> None:
    assert settings().media_store == "folder"
    assert not settings().uses_s3
    assert not settings().media_redirect


@pytest.mark.parametrize("store", ["s3://bucket", "s3://my.bucket-1/some/where", "s3://bucket/"])
def test_buckets_are_named(store: str) -> None:
    assert settings(MEDIA_STORE=store).uses_s3


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"MEDIA_STORE": "bucket"}, "MEDIA_STORE: use folder, s3://bucket or s3://bucket/prefix"),
        ({"MEDIA_STORE": "s3://Bucket"}, "MEDIA_STORE"),
        ({"MEDIA_STORE": "s3://bucket/../other"}, "MEDIA_STORE"),
        ({"MEDIA_STORE": "s3://bucket//x"}, "MEDIA_STORE"),
        ({"MEDIA_STORE": "s3://key:hidden@bucket"}, "MEDIA_STORE"),
        ({"S3_ENDPOINT_URL": "s3.example.org"}, "S3_ENDPOINT_URL: use https://host or https://host:port"),
        ({"S3_ENDPOINT_URL": "https://s3.example.org/path"}, "S3_ENDPOINT_URL"),
        ({"S3_ENDPOINT_URL": "ftp://s3.example.org"}, "S3_ENDPOINT_URL"),
        ({"S3_PUBLIC_ENDPOINT_URL": "https://a,b"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"S3_PUBLIC_ENDPOINT_URL": "http://h;x"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"S3_PUBLIC_ENDPOINT_URL": "https://h x"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"S3_PUBLIC_ENDPOINT_URL": "http://h:99999"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"S3_PUBLIC_ENDPOINT_URL": "http://h#x"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"S3_ENDPOINT_URL": "https://me:hidden@s3.example.org"}, "S3_ENDPOINT_URL: put the access key into"),
        ({"AWS_ACCESS_KEY_ID": "AKID"}, "AWS_SECRET_ACCESS_KEY: must be set together with AWS_ACCESS_KEY_ID"),
        ({"MEDIA_REDIRECT": "true"}, "MEDIA_REDIRECT: needs MEDIA_STORE=s3://bucket"),
        ({"S3_ADDRESSING": "dns"}, "S3_ADDRESSING"),
    ],
)
def test_mistakes_are_named(given: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(**given)
    assert any(one.startswith(problem) for one in refused.value.problems), refused.value.problems
    assert "hidden" not in str(refused.value)


def test_keys_are_shown_nowhere() -> None:
    made = settings(MEDIA_STORE="s3://bucket", **KEYS)
    assert "AKID" not in repr(made)
    assert "hidden" not in repr(made)


def test_a_bucket_is_named_in_the_path_with_an_endpoint_of_one_s_own_unless_said_otherwise() -> None:
    own = {"MEDIA_STORE": "s3://bucket", "S3_ENDPOINT_URL": "https://s3.example.org", **KEYS}
    assert S3Access.of(settings(**own)).path_style
    assert not S3Access.of(settings(**own, S3_ADDRESSING="host")).path_style
    aws = {"MEDIA_STORE": "s3://bucket", **KEYS}
    assert not S3Access.of(settings(**aws)).path_style
    assert S3Access.of(settings(**aws, S3_ADDRESSING="path")).path_style


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        ({"S3_REGION": "eu-central-1"}, "https://bucket.s3.eu-central-1.amazonaws.com/x/2026/01/02/a.png?"),
        ({"S3_ENDPOINT_URL": "https://s3.example.org:9000"}, "https://s3.example.org:9000/bucket/x/2026/01/02/a.png?"),
        ({"S3_PUBLIC_ENDPOINT_URL": "https://cdn.example.org"}, "https://bucket.cdn.example.org/x/2026/01/02/a.png?"),
    ],
)
def test_urls_lead_where_the_settings_say(given: dict[str, str], begins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.example.org")  # is not read
    store = open_media_store(settings(MEDIA_STORE="s3://bucket/x", **KEYS, **given))
    url = store.url("2026/01/02/a.png", 60, mime_type="image/png")
    assert url is not None
    assert url.startswith(begins)


def test_what_has_to_be_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.files.s3.client.is_installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r"pip install -r requirements-s3\.txt"):
        open_media_store(settings(MEDIA_STORE="s3://bucket"))
