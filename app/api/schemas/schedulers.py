"""The schedulers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field

from app.core.response_body import ResponseBody
from app.services.models.schedulers import KnownScheduler


class SchedulerBody(ResponseBody):
    name: str = Field(description="What `settings.scheduler` takes; `label` and `aliases` too, in any spelling.")
    label: str = Field(description="Its name in AUTOMATIC1111.")
    aliases: list[str]
    predictions: list[str] = Field(description="Kinds of prediction that it can be used with; see `GET /api/models`.")
    sigmas: list[str] = Field(description="What `settings.sigmas` may be, for some kind of prediction.")
    timestep_spacings: list[str] = Field(description="What `settings.timestep_spacing` may be, not for flow models.")
    models: list[str] = Field(description="The ids of the models that it fits, as far as they are known.")

    @classmethod
    def of(cls, known: KnownScheduler) -> Self:
        own = known.scheduler
        return cls.read(
            own,
            aliases=list(own.aliases),
            predictions=list(own.predictions),
            sigmas=list(known.sigmas),
            timestep_spacings=list(known.timestep_spacings),
            models=list(known.models),
        )


class SchedulersBody(ResponseBody):
    schedulers: list[SchedulerBody]

    @classmethod
    def of(cls, listing: Iterable[KnownScheduler]) -> Self:
        return cls(schedulers=[SchedulerBody.of(known) for known in listing])
