"""Everything read from the environment and `.env`, once, frozen. Nothing else in the project reads the environment.

The environment wins over `.env`. An empty value means "not set". Each field's description is the documentation: the
tests hold `.env.example` and docs/CONFIGURATION.md to it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from app.env_file import read_env_file
from app.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """The configuration of one installation. Field names are the environment's names in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), validate_default=True)

    # --- server
    host: str = Field("127.0.0.1", description="Address the API listens on. Loopback unless you know who can reach it.")
    port: int = Field(5050, ge=0, le=65535, description="Port of the API.")
    server_threads: int = Field(48, ge=4, le=512, description="Request threads; each open event stream holds one.")
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto", description="Worker processes that run.py starts: auto (one per GPU, one if none), 0, or a number."
    )
    cors_origins: str = Field("", description="Origins that browsers may call the API from, separated by commas.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body accepted, in bytes.")
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="Proxies in front whose X-Forwarded-For and -Proto are believed; 0 = none."
    )
    shutdown_grace_seconds: Seconds = Field(20, description="How long a running job may finish after SIGTERM.")

    # --- rate limits, per client
    rate_limit_generate: str = Field(
        "", description="Images that a client may ask for, e.g. 10 per minute; 200 per day. Empty = no limit."
    )
    rate_limit_read: str = Field(
        "", description="Other requests of a client, e.g. 600 per minute. A gallery page makes fifty. Empty = no limit."
    )
    rate_limit_storage_url: SecretStr = Field(
        SecretStr(""), description="Where limits are counted, as redis://host:6379/0; empty = in the API's memory."
    )

    # --- storage
    database_url: str = Field("", description="SQLAlchemy URL; empty = SQLite in db/cyberimage.db.")
    images_dir: Path = Field(Path("images"), description="Folder of the pictures, in date folders.")
    videos_dir: Path = Field(Path("videos"), description="Folder of the videos, in date folders.")

    disk_floor_bytes: int = Field(
        536_870_912, ge=0, description="Free bytes on the images' disk below which new jobs are refused (disk_full)."
    )

    # --- retention: what goes, oldest first; favourites stay
    retention_days: float = Field(
        0, ge=0, le=36_500, description="Days after which ended jobs and their pictures are removed; 0 = never."
    )
    retention_max_images: int = Field(0, ge=0, description="Pictures past which the oldest are removed; 0 = no limit.")
    retention_max_bytes: int = Field(
        0, ge=0, description="Bytes of pictures past which the oldest are removed; 0 = no limit."
    )

    # --- logging
    log_dir: Path = Field(Path("logs"), description="Folder of app.log, errors.log and models.log.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged.")
    log_prompts: bool = Field(True, description="Whether the log line of a finished job tells its prompt.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people (text) or machines (json).")

    # --- monitoring
    memory_alert_percent: float = Field(
        90, ge=0, le=100, description="RAM use past which log and metrics raise an alarm; 0 = never."
    )

    # --- models and the engine
    default_model_id: str = Field("demo", description="The model used when a request names none.")
    model_cache_dir: Path = Field(Path("models"), description="Folder that downloaded models are kept in.")
    hf_home: str = Field("", description="Hugging Face's own cache folder; empty = inside MODEL_CACHE_DIR.")
    hf_token: SecretStr = Field(SecretStr(""), description="Hugging Face token for gated models. Never logged.")
    torch_home: str = Field("", description="torch's own cache folder; empty = torch's default.")
    cuda_visible_devices: str = Field("", description="GPUs that may be used, as CUDA reads it; empty = all.")
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Precision of the weights; auto = what the family is known to be safe with, float32 on CPU."
    )
    attention_backend: Literal["auto", "native", "xformers"] = Field(
        "auto", description="Attention kernels; auto chooses by GPU generation, xformers forces xformers."
    )

    model_idle_seconds: float = Field(
        0, ge=0, description="Seconds after its last job when a worker drops a model from memory; 0 = never."
    )

    # --- generation
    previews: bool = Field(True, description="Show what a picture looks like while it is drawn.")
    prompt_max_chars: int = Field(500, ge=1, le=100_000, description="Longest prompt accepted, in characters.")

    # --- queue
    queue_max_pending: int = Field(10_000, ge=1, description="Waiting jobs past which new ones get queue_full.")
    lease_seconds: Seconds = Field(30, description="How long a worker owns a job without a sign of life.")
    heartbeat_seconds: Seconds = Field(5, description="How often a worker gives a sign of life.")
    job_timeout_seconds: Seconds = Field(1800, description="Longest a single attempt of a job may take.")
    max_attempts: int = Field(3, ge=1, le=100, description="Attempts of a job before it is FAILED.")
    worker_poll_seconds: Seconds = Field(1.0, description="How often an idle worker looks for work unasked.")

    # --- webhooks
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="Key that signs webhooks, as whsec_ and base64; empty = one is made up and kept."
    )
    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may go to private and loopback addresses. Then clients reach your network."
    )
    webhook_timeout_seconds: Seconds = Field(10, description="How long a webhook's receiver may take to answer.")

    # The MODEL_<KEY> lines as they stand; app.core.catalog reads them.
    model_lines: Mapping[str, str] = Field(default_factory=dict, exclude=True, repr=False)

    @field_validator("images_dir", "videos_dir", "log_dir", "model_cache_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path if path.is_absolute() else ROOT / path

    @field_validator("database_url")
    @classmethod
    def _database(cls, url: str) -> str:
        if not url:
            return f"sqlite:///{ROOT / 'db' / 'cyberimage.db'}"
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("use sqlite:///path or postgresql+psycopg://user:password@host/name")
        return url

    @field_validator("rate_limit_generate", "rate_limit_read")
    @classmethod
    def _limits(cls, text: str) -> str:
        if text:
            from limits import parse_many  # here: workers have no use for it

            try:
                parse_many(text)
            except ValueError:
                raise ValueError('use "10 per minute", or several between semicolons') from None
        return text

    @field_validator("rate_limit_storage_url")
    @classmethod
    def _limits_storage(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("use redis://host:6379/0, rediss:// or redis+unix://, or nothing")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_key(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        prefix, _, key = text.partition("_")
        if text and (prefix != "whsec" or not 24 <= _decoded_length(key) <= 64):
            raise ValueError("use whsec_ followed by the base64 of 24 to 64 random bytes, or nothing")
        return secret

    @property
    def cors_origin_list(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def rate_limit_storage(self) -> str:
        return self.rate_limit_storage_url.get_secret_value()

    @property
    def hub_cache(self) -> Path:
        """Where huggingface_hub keeps its downloads."""
        return Path(self.hf_home or self.model_cache_dir / "huggingface") / "hub"

    def local_path(self, repo: str) -> Path:
        """The folder or file of a `local` model; relative ones start at the project's folder."""
        return ROOT / Path(repo).expanduser()

    def library_environment(self) -> dict[str, str]:
        """The variables that torch and Hugging Face read on their own, for a worker to set before it imports them."""
        wanted = {
            "HF_HOME": self.hf_home or str(self.model_cache_dir / "huggingface"),
            "HF_TOKEN": self.hf_token.get_secret_value(),
            "TORCH_HOME": self.torch_home,
            "CUDA_VISIBLE_DEVICES": self.cuda_visible_devices,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TRANSFORMERS_VERBOSITY": "error",  # else every start warns of a package that only datasets need
        }
        return {name: value for name, value in wanted.items() if value}


def load_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ROOT / ".env", **overrides: Any
) -> Settings:
    """Read `.env` and the environment (which wins); `overrides` win over both.

    Raises ConfigurationError that lists every mistake at once.
    """
    merged: dict[str, str] = {}
    if env_file is not None:
        merged.update(read_env_file(env_file))
    merged.update(os.environ if environment is None else environment)
    values: dict[str, Any] = {
        name: merged[name.upper()] for name in Settings.model_fields if merged.get(name.upper(), "") != ""
    }
    values["model_lines"] = {
        key: value
        for key, value in merged.items()
        if key.startswith("MODEL_") and key.lower() not in Settings.model_fields and value.strip()
    }
    try:
        settings = Settings(**(values | overrides))
    except ValidationError as error:
        raise ConfigurationError(_explain(problem) for problem in error.errors()) from None
    if settings.heartbeat_seconds * 2 > settings.lease_seconds:
        raise ConfigurationError(["LEASE_SECONDS: must be at least twice HEARTBEAT_SECONDS, or live jobs are rescued"])
    return settings


def _decoded_length(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except ValueError:
        return 0


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]).upper()
    message = problem["msg"].removeprefix("Value error, ")
    field = Settings.model_fields.get(name.lower())
    is_secret = name == "DATABASE_URL" or (field is not None and field.annotation is SecretStr)
    shown = "" if is_secret else f" (it is {str(problem.get('input'))[:80]!r})"
    return f"{name}: {message}{shown}"
