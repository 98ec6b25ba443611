"""Servers that draw one picture on several GPUs, as a catalogue line names them: SGLang-Diffusion, vLLM-Omni, or any
other with OpenAI's images API."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.core.tasks import Task

Kind = Literal["sglang", "vllm-omni", "openai"]
TASKS: frozenset[Task] = frozenset({"txt2img", "edit"})  # what the images API has routes for


class EngineServer(BaseModel):
    """`url` is where its API begins, with its version: http://10.0.0.5:30000/v1. `kind` says what it knows besides
    OpenAI's own members: `sglang` and `vllm-omni` take the seed, steps, guidance and the negative prompt.

    With a `command` it is started here, on the last `gpus` of this machine, which have no worker then; without one it
    runs by itself, here or elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    url: str = Field(max_length=500)
    command: str | None = Field(default=None, min_length=1, max_length=2000)
    gpus: int = Field(default=1, ge=0, le=64)

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not re.match(r"https?://[^/]", url):
            raise ValueError("must begin with http:// or https://, as http://10.0.0.5:30000/v1")
        if "@" in url:
            raise ValueError("may have no password in it; set ENGINE_SERVER_KEY")
        return url.rstrip("/")

    @field_validator("command")
    @classmethod
    def _readable(cls, command: str | None) -> str | None:
        if command is not None and not shlex.split(command):  # raises ValueError where a quotation mark is missing
            raise ValueError("is empty; leave it out if the server runs by itself")
        return command

    @property
    def words(self) -> list[str]:
        """The words of the command; none without one."""
        return shlex.split(self.command or "")

    @property
    def knows_settings(self) -> bool:
        return self.kind != "openai"
