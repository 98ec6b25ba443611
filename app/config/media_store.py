"""Media store"""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from app.config.kinds import Seconds

_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-f:.]+")  # an IPv6 address without its brackets


def store_name(text: str) -> str:
    """MEDIA_STORE in its one spelling. Raises ValueError."""
    if text == "folder":
        return text
    found = _BUCKET.fullmatch(text)
    if found is None or {".", ".."} & set(found[2].split("/")):
        raise ValueError("use folder, s3://bucket or s3://bucket/prefix")
    return text.rstrip("/")


class MediaStore(BaseModel):
    media_store: str = Field(
        "folder",
        description="Where pictures and videos are kept: folder (IMAGES_DIR and VIDEOS_DIR), or s3://bucket or"
        " s3://bucket/prefix, which several machines can share (docs/MEDIA_STORE.md).",
    )
    s3_endpoint_url: str = Field(
        "", description="URL of the S3 service, as https://s3.example.org:9000; empty = that of AWS."
    )
    s3_public_endpoint_url: str = Field(
        "", description="URL under which clients reach it, for MEDIA_REDIRECT; empty = the same."
    )
    s3_region: str = Field("", description="Region of the bucket; empty = that of AWS' own settings, or us-east-1.")
    s3_addressing: Literal["auto", "path", "host"] = Field(
        "auto",
        description="Where the bucket is named: path = in the path of URLs, host = in their host; auto = path with"
        " S3_ENDPOINT_URL, else host.",
    )
    s3_timeout_seconds: Seconds = Field(
        20, le=600, description="A call to the S3 service is given up when nothing comes for so long, and tried again."
    )
    s3_retry_seconds: Seconds = Field(
        30,
        le=600,
        description="How long a worker tries to store a picture while the S3 service does not answer. Then the job goes"
        " back to the queue, and none is begun until the service answers.",
    )
    aws_access_key_id: SecretStr = Field(
        SecretStr(""),
        description="Access key of the S3 service; empty = AWS' own ways: profiles, roles of machines and containers."
        " Never logged.",
    )
    aws_secret_access_key: SecretStr = Field(SecretStr(""), description="Secret of that access key. Never logged.")
    aws_session_token: SecretStr = Field(SecretStr(""), description="Token of temporary access keys. Never logged.")
    media_redirect: bool = Field(
        False,
        description="Answer with a redirect to a URL of the S3 service that is valid for a short while, instead of"
        " sending files through this server.",
    )
    media_redirect_seconds: int = Field(300, ge=10, le=3600, description="How long such a URL is valid.")

    @field_validator("media_store")
    @classmethod
    def _store(cls, text: str) -> str:
        return store_name(text)

    @field_validator("s3_endpoint_url", "s3_public_endpoint_url")
    @classmethod
    def _endpoint(cls, url: str) -> str:
        parts = urlsplit(url.rstrip("/"))
        if parts.username is not None:
            raise ValueError("put the access key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not into the URL")
        more = parts.path or parts.query or parts.fragment
        if url and (parts.scheme not in ("http", "https") or more or not _is_address(parts)):
            raise ValueError("use https://host or https://host:port, without a path")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.aws_access_key_id.get_secret_value()) != bool(self.aws_secret_access_key.get_secret_value()):
            raise ValueError("AWS_SECRET_ACCESS_KEY: must be set together with AWS_ACCESS_KEY_ID")
        if self.media_redirect and not self.uses_s3:
            raise ValueError("MEDIA_REDIRECT: needs MEDIA_STORE=s3://bucket; a folder has no URLs of its own")
        return self

    @property
    def uses_s3(self) -> bool:
        return self.media_store.startswith("s3://")


def _is_address(parts: SplitResult) -> bool:
    """Whether there is a host, with a port that there can be. The URL is part of a header of all pages."""
    try:
        return _HOST.fullmatch(parts.hostname or "") is not None and parts.port != 0
    except ValueError:
        return False
