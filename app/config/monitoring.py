"""Logging and monitoring"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from app.config.kinds import LIVE, Folder


class Monitoring(BaseModel):
    log_dir: Folder = Field(Path("logs"), description="Folder of app.log, errors.log, models.log and access.log.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="Least severe level logged.", json_schema_extra=LIVE
    )
    log_prompts: bool = Field(
        True, description="Include the prompt in the log line of a finished job.", json_schema_extra=LIVE
    )
    log_format: Literal["text", "json", "ecs"] = Field(
        "text",
        description="Format of log lines: text for people, json for log collectors, ecs = JSON with the names of the"
        " Elastic Common Schema.",
    )
    otel_exporter_otlp_endpoint: str = Field(
        "",
        pattern="^(https?://[^/].*)?$",
        description="URL of an OpenTelemetry collector (OTLP over HTTP, such as http://127.0.0.1:4318) that spans of"
        " requests and jobs are sent to; empty = none. Needs requirements-tracing.txt.",
    )
    access_log: Literal["off", "sampled", "all"] = Field(
        "sampled",
        description="Log requests: all; sampled = of routes that clients poll, one in ACCESS_LOG_EVERY, and errors.",
        json_schema_extra=LIVE,
    )
    access_log_every: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="With ACCESS_LOG=sampled: requests of a polled route for each one that is logged.",
        json_schema_extra=LIVE,
    )
    memory_alert_percent: float = Field(
        90,
        ge=0,
        le=100,
        description="RAM use above which logs and metrics raise an alarm; 0 = never.",
        json_schema_extra=LIVE,
    )
