"""Server"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from app.config import addresses
from app.config.kinds import Seconds


class Server(BaseModel):
    host: str = Field(
        "127.0.0.1",
        description="Address or name the API listens on, or unix:/path/of.sock for a proxy on this machine. Loopback"
        " unless you know who can reach it.",
    )
    port: int = Field(5050, ge=0, le=65535, description="Port of the API.")
    server_threads: int = Field(48, ge=4, le=512, description="Request threads. Event streams hold none.")
    max_event_streams: int = Field(
        2000, ge=1, le=50_000, description="Open event streams past which clients are told to poll."
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto", description="Worker processes that run.py starts: auto (one per GPU, one if none), 0, or a number."
    )
    sync_timeout_seconds: Seconds = Field(
        120, le=3600, description="How long the versioned API waits for a picture before it answers 202."
    )
    cors_origins: str = Field("", description="Origins that browsers may call the API from, separated by commas.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body accepted, in bytes.")
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="Proxies in front whose X-Forwarded-For, -Proto and -Prefix are believed; 0 = none."
    )
    shutdown_grace_seconds: Seconds = Field(20, description="How long a running job may finish after SIGTERM.")

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
        """Of the Unix socket to listen on, instead of an address."""
        return Path(self.host.removeprefix(addresses.UNIX)) if self.host.startswith(addresses.UNIX) else None

    @property
    def listens_on(self) -> str:
        """For people: `http://[::1]:5050`, or the path of a socket."""
        return self.host if self.socket_path else f"http://{self.bind_address}"

    @property
    def bind_address(self) -> str:
        """As gunicorn has it."""
        if self.socket_path:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def cors_origin_list(self) -> list[str]:
        return [origin for origin in self.cors_origins.split(",") if origin]
