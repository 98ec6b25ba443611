"""The flat requests of the versioned API, and how they become the request that everybody makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.core.request import RANDOM_SEED, SEED_MAX, FiniteFloat, GenerationInput, GenerationSettings
from app.errors import FieldError, InvalidRequest

LONGEST_TIMEOUT_SECONDS = 3600
_NESTED = "settings."

Timeout = Annotated[
    FiniteFloat | None,
    Field(
        ge=0,
        le=LONGEST_TIMEOUT_SECONDS,
        description="Seconds to wait before the answer is 202; absent = SYNC_TIMEOUT_SECONDS, 0 = do not wait.",
    ),
]


class Txt2ImgBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    prompt: str
    negative_prompt: str | None = None
    model_id: str | None = Field(default=None, description="Of `GET /api/v1/models`; absent = the default model.")
    num_inference_steps: int | None = Field(default=None, ge=1, le=100, description="Each model has its rule.")
    guidance_scale: FiniteFloat | None = Field(default=None, ge=1.0, le=20.0)
    seed: int | None = Field(default=None, ge=RANDOM_SEED, le=SEED_MAX, description="-1 or absent draws one.")
    width: int | None = Field(default=None, description="Pixels, within the model's limits.")
    height: int | None = Field(default=None, description="Pixels, within the model's limits.")
    num_images: int = Field(default=1, ge=1, le=8, description="Image i uses seed + i.")
    timeout: Timeout = None

    def asked(self) -> GenerationInput:
        """The same request in the words of everybody."""
        nested = GenerationSettings.model_validate(
            {name: getattr(self, name) for name in GenerationSettings.model_fields if hasattr(self, name)}
        )
        return GenerationInput(
            prompt=self.prompt, negative_prompt=self.negative_prompt, model_id=self.model_id, settings=nested
        )


@contextmanager
def flat_field_names() -> Iterator[None]:
    """Complaints about `settings.width` name `width`, which is what the client sent."""
    try:
        yield
    except InvalidRequest as error:
        wrong = [FieldError(one.field.removeprefix(_NESTED), one.message) for one in error.errors]
        raise type(error)(error.detail.replace(_NESTED, ""), errors=wrong) from None
