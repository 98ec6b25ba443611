"""Logging and monitoring"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from app.config.kinds import LIVE, Folder


class Monitoring(BaseModel):
    log_dir: Folder = Field(Path("logs"), description="Folder of app.log, errors.log and models.log.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level logged.", json_schema_extra=LIVE
    )
    log_prompts: bool = Field(
        True, description="Include the prompt in the log line of a finished job.", json_schema_extra=LIVE
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Format of log lines: text for people, json for log collectors."
    )
    memory_alert_percent: float = Field(
        90,
        ge=0,
        le=100,
        description="RAM use above which logs and metrics raise an alarm; 0 = never.",
        json_schema_extra=LIVE,
    )
