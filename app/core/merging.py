"""Which waiting jobs one call of a pipeline can draw together: those that differ in nothing but their words and seed.

Pure: who asks for what is looked up in `app.store.queue.batching`, what a pipeline can do in the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.request import GenerationRequest
from app.core.tasks import TXT2IMG


def can_merge(request: GenerationRequest) -> bool:
    """Whether others may be drawn with it. A rerun may not: it is to be the same picture to the last bit."""
    alone = request.num_images > 1 or request.rerun_of is not None or request.remote is not None
    return request.task == TXT2IMG and not alone


def call_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What all of one call share of a request's `stored()` settings."""
    return {name: value for name, value in settings.items() if name != "seed"}
