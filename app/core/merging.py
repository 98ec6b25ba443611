"""Rules for merging jobs into one pipeline call: they may differ in prompt and seed only.

Pure: `app.store.queue.batching` finds the jobs, the engine knows what a pipeline supports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.request import GenerationRequest
from app.core.tasks import TXT2IMG


def can_merge(request: GenerationRequest) -> bool:
    """Whether other jobs may be merged with it. Not with a rerun, whose picture must be identical bit by bit."""
    alone = request.num_images > 1 or request.rerun_of is not None or request.remote is not None
    return request.task == TXT2IMG and not alone


def call_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request's `stored()` settings that all jobs of one call share."""
    return {name: value for name, value in settings.items() if name != "seed"}
