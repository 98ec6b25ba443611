"""Server"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from app.config import addresses
from app.config.kinds import LIVE, Seconds


class Server(BaseModel):
    host: str = Field(
        "127.0.0.1",
        description="Address or name to listen on, or unix:/path/of.sock for a proxy on this machine. Keep loopback"
        " unless you know which clients can connect.",
    )
    port: int = Field(5050, ge=0, le=65535, description="Port of the API.")
    server_threads: int = Field(
        48, ge=4, le=512, description="Request threads. Event streams and calls that wait for a picture use none."
    )
    max_event_streams: int = Field(
        2000, ge=1, le=50_000, description="Most open event streams and waiting calls; further clients must poll."
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto", description="Worker processes started by run.py: auto (one per GPU, one without GPU), or a number."
    )
    sync_timeout_seconds: Seconds = Field(
        120, le=3600, description="How long /api/v1 waits for a picture before it answers 202."
    )
    cors_origins: str = Field("", description="Origins whose pages may call the API, separated by commas.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body accepted, in bytes.")
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="Number of trusted proxies that set X-Forwarded-For, -Proto and -Prefix; 0 = none."
    )
    keepalive_seconds: int = Field(
        130,
        ge=1,
        le=3600,
        description="How long an idle connection stays open; longer than in the proxy in front.",
    )
    service_worker: bool = Field(
        True,
        description="Let the page install a service worker: an offline page while the server cannot be reached, and"
        " sharing to the installed page. Off removes it from the browsers that have one.",
        json_schema_extra=LIVE,
    )
    shutdown_grace_seconds: Seconds = Field(20, description="Time for running jobs to finish after SIGTERM.")
    drain_seconds: float = Field(
        0,
        ge=0,
        le=600,
        description="How long the API of run.py at least goes on after SIGTERM, with 503 on /readyz, so that proxies"
        " see it, and in the second half also to new jobs; longer while workers finish their jobs.",
    )

    @field_validator("host")
    @classmethod
    def _host(cls, text: str) -> str:
        return addresses.listening_host(text)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str) -> str:
        return addresses.origins(text)

    @property
    def socket_path(self) -> Path | None:
        """The path of the Unix socket, if HOST is one."""
        return Path(self.host.removeprefix(addresses.UNIX)) if self.host.startswith(addresses.UNIX) else None

    @property
    def listens_on(self) -> str:
        """For display: `http://[::1]:5050`, or the path of a socket."""
        return self.host if self.socket_path else f"http://{self.bind_address}"

    @property
    def bind_address(self) -> str:
        """The address in gunicorn's notation."""
        if self.socket_path:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def cors_origin_list(self) -> list[str]:
        return [origin for origin in self.cors_origins.split(",") if origin]
