"""Prometheus metric families for the counters in the database."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from app.monitoring.phases import BOUNDS, label
from app.store.ops.counters import Counter

_FAMILIES = {  # name in the database: (metric without _total, further labels, help text)
    "jobs_accepted": ("jobs_accepted", None, "Jobs accepted into the queue."),
    "jobs_ended": ("jobs_ended", "outcome", "Jobs that ended: completed, cancelled, or the code of their error."),
    "jobs_returned": (
        "jobs_returned",
        "reason",
        "Attempts that returned the job to the queue; worker_died: its worker died, or its lease expired.",
    ),
    "steps": ("steps", None, "Denoising steps of published jobs."),
    "images": ("images_published", None, "Pictures and videos published."),
    "model_loads": ("model_loads", None, "Times a worker loaded the model."),
    "model_unloads": ("model_unloads", None, "Times a worker removed the model from memory."),
    "model_swaps": ("model_swaps", None, "Loads that evicted another model."),
    "prompt_encodings": (
        "prompt_encodings",
        "outcome",
        "Encodings of prompts: computed by the model's text encoders, or reused (PROMPT_CACHE_BYTES).",
    ),
    "jobs_merged": ("jobs_merged", None, "Published jobs that were generated in one call with others (MERGE_JOBS)."),
    "remote_predictions": (
        "remote_predictions",
        "provider/outcome",
        "Generations at providers, by the provider's final status.",
    ),
    "remote_predict_seconds": ("remote_predict_seconds", "provider", "Billed time at providers."),
    "remote_download_retries": (
        "remote_download_retries",
        "provider",
        "Repeated downloads of files from providers.",
    ),
    "worker_deaths": ("worker_deaths", "cause", "Deaths of workers that their supervisor saw, by cause."),
    "removed": ("upkeep_removed", "kind", "What retention and clean-up removed."),
    "freed_bytes": ("upkeep_freed_bytes", None, "Disk space freed by retention and clean-up."),
}
WITHOUT_MODEL = frozenset({"worker_deaths", "removed", "freed_bytes"})


def metric_families(counters: Mapping[Counter, float]) -> Iterator[Metric]:
    """All families, including those without counts yet, so that dashboards may refer to them."""
    for name, (metric, second, about) in _FAMILIES.items():
        labels = [*([] if name in WITHOUT_MODEL else ["model"]), *(second.split("/") if second else [])]
        family = CounterMetricFamily(f"cyberimage_{metric}", about, labels=labels)
        for key, value in counters.items():
            if key.name == name:
                details = key.detail.split("/") if second else []
                family.add_metric([part for part in (key.model_id, *details) if part], value)
        yield family
    yield _phases(counters)


def _phases(counters: Mapping[Counter, float]) -> Metric:
    family = HistogramMetricFamily(
        "cyberimage_job_phase_seconds",
        "How long published jobs spent in each phase; queued is the wait for a worker.",
        labels=["model", "phase"],
    )
    for key, seconds in counters.items():
        if key.name == "phase_seconds":
            family.add_metric([key.model_id, key.detail], _buckets(counters, key), seconds)
    return family


def _buckets(counters: Mapping[Counter, float], key: Counter) -> list[tuple[str, float]]:
    """Cumulative buckets, as Prometheus expects; the database counts each observation in one bucket."""
    total, found = 0.0, []
    for bound in BOUNDS:
        total += counters.get(Counter("phase_bucket", key.model_id, f"{key.detail}/{label(bound)}"), 0.0)
        found.append((label(bound), total))
    assert math.isinf(BOUNDS[-1])
    return found
