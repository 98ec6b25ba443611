"""Settings: all groups combined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.config.acceleration import Acceleration
from app.config.batches import Batches
from app.config.facades import Facades
from app.config.generation import Generation
from app.config.input import Input
from app.config.input_pictures import InputPictures
from app.config.loras import Loras
from app.config.media_store import MediaStore
from app.config.models import Models
from app.config.monitoring import Monitoring
from app.config.profile import Profile
from app.config.queue import Queue
from app.config.rate_limits import RateLimits
from app.config.remote import Remote
from app.config.retention import Retention
from app.config.security import Security
from app.config.server import Server
from app.config.storage import Storage
from app.config.webhooks import Webhooks


class Settings(
    Profile,
    Server,
    Security,
    RateLimits,
    Storage,
    MediaStore,
    Retention,
    Monitoring,
    Models,
    Acceleration,
    Loras,
    Generation,
    Input,
    InputPictures,
    Queue,
    Batches,
    Remote,
    Webhooks,
    Facades,
):
    """The configuration of one installation. Field names are the environment variables in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), validate_default=True)

    # The MODEL_<KEY> lines, unparsed; app.core.catalog parses them.
    model_lines: Mapping[str, str] = Field(default_factory=dict, exclude=True, repr=False)

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("LEASE_SECONDS: must be at least twice HEARTBEAT_SECONDS, or leases of live jobs expire")
        return self

    @model_validator(mode="after")
    def _hub_kernels_allowed(self) -> Settings:
        if self.attention_backend.endswith("_hub") and not self.allow_hub_kernels:
            raise ValueError(
                f"ATTENTION_BACKEND: {self.attention_backend} downloads code from the hub and runs it; set"
                " ALLOW_HUB_KERNELS=true if it may, or choose other kernels"
            )
        return self

    @property
    def tuned_profiles_folder(self) -> Path:
        return Path(self.tuned_profiles_dir or self.model_cache_dir / "profiles")

    def library_environment(self) -> dict[str, str]:
        """The variables that torch and Hugging Face read; a worker sets them before importing these."""
        compiled = self.compile_cache_dir or str(self.model_cache_dir / "compiled")
        return super().library_environment() | {"TORCHINDUCTOR_CACHE_DIR": compiled}

    @model_validator(mode="after")
    def _strict_in_production(self) -> Settings:
        if self.environment == "production" and "*" in self.cors_origin_list:
            raise ValueError("CORS_ORIGINS: name the origins; * is not allowed with ENVIRONMENT=production")
        if self.environment == "production" and self.webhook_allow_private:
            raise ValueError("WEBHOOK_ALLOW_PRIVATE: must be false with ENVIRONMENT=production")
        return self


GROUPS: tuple[type[BaseModel], ...] = Settings.__bases__  # in the documentation's order
