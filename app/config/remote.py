"""Remote models"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from app.config.kinds import LIVE, Seconds


class Remote(BaseModel):
    replicate_api_token: SecretStr = Field(
        SecretStr(""), description="Replicate's API token; empty = off. Each generation costs money. Never logged."
    )
    replicate_base_url: str = Field("https://api.replicate.com", description="URL of Replicate's API.")
    openai_api_key: SecretStr = Field(
        SecretStr(""), description="API key for models with the source openai, if required. Never logged."
    )
    openai_base_url: str = Field(
        "", description="OpenAI-compatible server for models with the source openai, including /v1; empty = none."
    )
    engine_server_key: SecretStr = Field(
        SecretStr(""),
        description="API key for the servers of models with the source engine, if required. Never logged.",
    )
    public_url: str = Field(
        "",
        description="Public URL of this server for browsers and providers, as https://example.org or"
        " https://example.org/cyberimage; empty = no webhooks from providers, which are polled.",
    )
    replicate_webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Replicate's webhook signing secret, as whsec_ and base64; empty = fetched from Replicate.",
    )
    replicate_image_models: str = Field(
        "black-forest-labs/flux-schnell,black-forest-labs/flux-dev,black-forest-labs/flux-1.1-pro,"
        "black-forest-labs/flux-kontext-pro,google/nano-banana,google/imagen-4,bytedance/seedream-4,"
        "ideogram-ai/ideogram-v3-turbo,recraft-ai/recraft-v3,qwen/qwen-image",
        description="Replicate's models in /api/image-models, besides those of MODEL_ lines.",
    )
    replicate_video_models: str = Field(
        "wan-video/wan-2.2-i2v-fast,wan-video/wan-2.2-t2v-fast,bytedance/seedance-1-lite,bytedance/seedance-1-pro,"
        "minimax/hailuo-02,kwaivgi/kling-v2.1,lightricks/ltx-video,google/veo-3-fast",
        description="Replicate's models in /api/video-models, besides those of MODEL_ lines.",
    )
    replicate_only_listed: bool = Field(
        False,
        description="Allow only listed models, and a version only if it is listed as owner/name:version; otherwise"
        " every model of Replicate, at its price.",
    )
    remote_concurrency: int = Field(
        10, ge=0, le=100, description="Remote generations at a time; 0 = run.py starts no worker for them."
    )
    remote_timeout_seconds: Seconds = Field(
        900, description="Time limit of a remote generation, including its wait at the provider."
    )

    remote_stall_seconds: float = Field(
        15, ge=1, le=600, description="A download from a provider without a byte for so long is tried again."
    )
    remote_files_seconds: float = Field(
        3600,
        ge=60,
        le=2_592_000,
        description="How long a provider keeps the files of a finished generation; fetching them is retried for so"
        " long. Replicate: an hour.",
    )
    remote_output_max_bytes: int = Field(
        268_435_456, ge=1024, description="Largest output file to fetch from a provider, in bytes."
    )

    remote_price: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Price of a picture or video of a remote model whose MODEL_ line has no price, in your currency.",
        json_schema_extra=LIVE,
    )
    spend_limit_predictions: int = Field(
        0,
        ge=0,
        description="Most remote generations of a client in a day (UTC); 0 = no limit.",
        json_schema_extra=LIVE,
    )
    spend_limit_amount: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Most that a client's remote generations may cost in a day (UTC), by the prices of MODEL_ lines and"
        " REMOTE_PRICE, which must be set too; 0 = no limit.",
        json_schema_extra=LIVE,
    )

    @model_validator(mode="after")
    def _every_model_has_a_price(self) -> Self:
        if self.spend_limit_amount and not self.remote_price:
            raise ValueError("REMOTE_PRICE: must be set with SPEND_LIMIT_AMOUNT: other models would cost nothing")
        return self

    @field_validator("replicate_base_url", "openai_base_url", "public_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// or http://")
        return url.rstrip("/")

    @field_validator("replicate_base_url")
    @classmethod
    def _without_version(cls, url: str) -> str:
        return url.removesuffix("/v1")

    def has_key_for(self, source: str) -> bool:
        """True if the provider of the remote `source` is configured. An engine server is, by its line."""
        if source == "engine":
            return True
        if source == "replicate":
            return bool(self.replicate_api_token.get_secret_value())
        return source == "openai" and bool(self.openai_base_url)

    def curated_models(self, media: str) -> list[str]:
        """Names of Replicate's models, in display order."""
        names = self.replicate_video_models if media == "video" else self.replicate_image_models
        return [name.strip() for name in names.split(",") if name.strip()]

    @property
    def has_provider(self) -> bool:
        return self.has_key_for("replicate") or self.has_key_for("openai")
