"""Calls to an S3 service: a client of botocore, made with the first call, whose failures are tried again with our own
backoff."""

from __future__ import annotations

import importlib.util
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from app.config import Settings
from app.core.backoff import Backoff
from app.files.s3.faults import Kind, S3Failure, fault_of

BACKOFF = Backoff(first=0.25, longest=5.0, jitter=0.25)
CONNECT_SECONDS = 5.0

Result = TypeVar("Result")


def is_installed() -> bool:
    return importlib.util.find_spec("botocore") is not None


@dataclass(frozen=True)
class S3Access:
    """How the service is called. An empty `endpoint` is that of AWS, an empty `access_key` stands for AWS' own ways to
    find one, and an empty `region` for AWS' own settings."""

    endpoint: str
    region: str
    path_style: bool
    timeout: float
    connections: int
    access_key: str
    secret_key: str
    token: str

    @classmethod
    def of(cls, settings: Settings, endpoint: str | None = None) -> S3Access:
        auto = settings.s3_addressing == "auto"
        return cls(
            endpoint=settings.s3_endpoint_url if endpoint is None else endpoint,
            region=settings.s3_region,
            path_style=bool(settings.s3_endpoint_url) if auto else settings.s3_addressing == "path",
            timeout=settings.s3_timeout_seconds,
            connections=settings.server_threads,
            access_key=settings.aws_access_key_id.get_secret_value(),
            secret_key=settings.aws_secret_access_key.get_secret_value(),
            token=settings.aws_session_token.get_secret_value(),
        )

    def client(self) -> Any:
        """A client of botocore, which verifies certificates. Its own retries are off, and addresses of services in the
        environment or in AWS' files are not read."""
        import botocore.session
        from botocore.config import Config

        for name in ("botocore", "urllib3"):  # at DEBUG they log signatures
            logging.getLogger(name).setLevel(logging.INFO)
        session = botocore.session.get_session()
        config = Config(
            signature_version="s3v4",
            connect_timeout=min(CONNECT_SECONDS, self.timeout),
            read_timeout=self.timeout,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=self.connections,
            # The body's SHA-256 is part of the signature, which each service checks. Checksums of other kinds, which
            # many services do not know, are not added.
            s3={"addressing_style": "path" if self.path_style else "virtual", "payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
        )
        return session.create_client(
            "s3",
            region_name=self.region or session.get_config_variable("region") or "us-east-1",
            endpoint_url=self.endpoint or None,
            aws_access_key_id=self.access_key or None,
            aws_secret_access_key=self.secret_key or None,
            aws_session_token=self.token or None,
            config=config,
        )


class S3Calls:
    """Makes calls with one client. Thread-safe."""

    def __init__(
        self,
        make_client: Callable[[], Any],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._make_client = make_client
        self._client: Any = None
        self._lock = threading.Lock()
        self._clock = clock
        self._sleep = sleep

    def call(self, work: Callable[[Any], Result], patience: float) -> Result:
        """The result of `work`, which is called with the client, and again for `patience` seconds while what goes wrong
        may pass. Raises S3Failure."""
        give_up_at, failures = self._clock() + patience, 0
        while True:
            try:
                return work(self.client())
            except Exception as error:
                fault = fault_of(error)
                if fault is None:
                    raise
                failures += 1
                pause = BACKOFF.seconds(failures, random.random())
                if fault.kind is not Kind.PASSING or self._clock() + pause >= give_up_at:
                    raise S3Failure(fault) from None
                self._sleep(pause)

    def client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client
