"""Façades: the interfaces of other products"""

from __future__ import annotations

from pydantic import BaseModel, Field, field_validator

from app.config.kinds import LIVE

FACADES = ("openai", "a1111", "mcp")


class Facades(BaseModel):
    facades: str = Field(
        ",".join(FACADES),
        description="Interfaces of other products that are served, separated by commas: openai (/v1/images), a1111"
        " (/sdapi/v1), mcp (/mcp); none = none of them. Their users, limits and queue are those of the API.",
    )
    facade_cancel_on_disconnect: bool = Field(
        False,
        description="Cancel the job of a façade's call when its client leaves before the answer, unless another call"
        " waits for the same job. Clients that give up and retry then begin anew.",
        json_schema_extra=LIVE,
    )

    @field_validator("facades")
    @classmethod
    def _known(cls, text: str) -> str:
        names = {name.strip().lower() for name in text.split(",") if name.strip()} - {"none"}
        if unknown := sorted(names - set(FACADES)):
            raise ValueError(f"there is no façade {unknown[0][:40]!r}; use {', '.join(FACADES)} or none")
        return ",".join(sorted(names)) or "none"

    @property
    def facade_names(self) -> frozenset[str]:
        return frozenset(self.facades.split(",")) - {"none"}
