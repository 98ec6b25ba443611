"""Prometheus collector of the installation: queue, workers, their counters, and the machine.

Figures of the whole installation come from the database, so one scrape covers the API and all workers. Several API
processes all report the same: aggregate by max, not by sum. The cost of a scrape does not grow with history. Names
have base units and no ids in labels; tests/monitoring checks them against deploy/.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.core.catalog import Lane
from app.errors import DatabaseUnavailable
from app.monitoring.resources import Machine
from app.services.context import AppContext
from app.services.ops.devices import health_by_device
from app.services.ops.metric_families import metric_families
from app.services.ops.stats import LaneState, lanes
from app.services.ops.zero_counters import with_bounded_models, with_zeros
from app.store.queue.stats import QueueCounts
from app.store.queue.workers import WORKER_STATES
from app.version import __version__


class InstallationMetrics(Collector):
    """Collected at every scrape. While the database is unavailable, its figures are left out."""

    def __init__(self, context: AppContext, machine: Machine) -> None:
        self._context = context
        self._machine = machine
        self._figures = context.stats

    def describe(self) -> Iterable[Metric]:
        """Empty: registering must not query the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield _gauge("build_info", "Always 1; the labels say what runs.", [(_versions(), 1)])
        yield from _machine(self._machine, self._context)
        try:
            figures, workers = self._figures.read(), self._context.workers.live()
        except DatabaseUnavailable:
            yield _gauge("database_up", "Whether the database answers.", 0)
            return
        yield _gauge("database_up", "Whether the database answers.", 1)
        models = dict.fromkeys((spec.id for spec in self._context.catalog), 0)  # a series of each, also of idle ones
        yield from _queue(figures, models)
        yield from _lanes(lanes(workers, figures.lanes))
        yield from _workers(workers, models)
        counters = with_bounded_models(figures.counters, self._context.catalog)
        yield from metric_families(with_zeros(counters, self._context.catalog))


def _queue(figures: QueueCounts, models: Mapping[str, int]) -> Iterator[Metric]:
    by_status = [({"status": status.lower()}, number) for status, number in figures.jobs.items()]
    yield _gauge("jobs", "Jobs in the database, by status.", by_status)
    yield _gauge("jobs_waiting", "Jobs in the queue, by model.", _by("model", {**models, **figures.waiting}))
    yield _gauge("jobs_running", "Jobs that a worker runs, by model.", _by("model", {**models, **figures.running}))
    yield _gauge("oldest_waiting_job_age_seconds", "Age of the oldest job in the queue.", figures.oldest_job_age)
    states = {"running": figures.batches_running, "paused": figures.batches_paused}
    yield _gauge("batches", "Batches that have not ended, by state.", _by("state", states))
    age = figures.oldest_batch_progress_age
    yield _gauge("oldest_batch_progress_age_seconds", "The longest that a running batch had no job end.", age)
    yield _gauge("images", "Published pictures and videos.", figures.outputs["count"])
    yield _gauge("images_bytes", "Size of published pictures and videos, without thumbnails.", figures.outputs["bytes"])
    yield _gauge("webhooks_waiting", "Webhook messages waiting for delivery.", figures.webhooks)
    yield _gauge("oldest_webhook_overdue_seconds", "How long the oldest one is overdue.", figures.oldest_webhook_age)


def _lanes(states: Mapping[Lane, LaneState]) -> Iterator[Metric]:
    yield _gauge("lane_jobs_waiting", "Jobs in the queue of each lane.", _of_lanes(states, "waiting"))
    yield _gauge("lane_jobs_running", "Jobs that the workers of each lane run.", _of_lanes(states, "running"))
    yield _gauge("lane_slots", "Jobs that the live workers of each lane can run at a time.", _of_lanes(states, "slots"))


def _of_lanes(states: Mapping[Lane, LaneState], name: str) -> list[tuple[dict[str, str], float]]:
    return [({"lane": lane}, float(getattr(state, name))) for lane, state in states.items()]


def _workers(workers: Sequence[Mapping[str, Any]], models: Mapping[str, int]) -> Iterator[Metric]:
    states = dict.fromkeys(WORKER_STATES, 0)
    loaded, parked = dict(models), dict(models)
    rss, vram = {"cpu": 0}, {"cpu": 0}
    for worker in workers:
        states[worker["state"]] = states.get(worker["state"], 0) + 1
        rss[worker["device"]] = rss.get(worker["device"], 0) + worker["rss_bytes"]
        vram[worker["device"]] = vram.get(worker["device"], 0) + worker["vram_bytes"]
        for held in worker["models"]:
            counted = parked if held.get("parked") else loaded
            counted[held["model_id"]] = counted.get(held["model_id"], 0) + 1
    health = [({"host": host, "device": device}, works) for (host, device), works in health_by_device(workers).items()]
    yield _gauge("device_healthy", "0 while a device of a live worker is out of service.", health)
    yield _gauge("workers", "Live workers, by state.", _by("state", states))
    yield _gauge("worker_resident_memory_bytes", "Memory of the live workers.", _by("device", rss))
    yield _gauge("worker_vram_bytes", "GPU memory of the live workers' models.", _by("device", vram))
    yield _gauge("models_loaded", "Workers that have the model on their device.", _by("model", loaded))
    yield _gauge("models_parked", "Workers that have the model parked in main memory.", _by("model", parked))


def _machine(machine: Machine, context: AppContext) -> Iterator[Metric]:
    settings, now = context.settings, machine.read()
    if (free := context.images.free_bytes()) is not None:
        yield _gauge("disk_free_bytes", "Free space on the disk of the pictures.", free)
    yield _gauge("disk_floor_bytes", "Below this, new jobs are refused.", settings.disk_floor_bytes)
    yield _gauge("cpu_usage_ratio", "CPU use of all cores together.", now.cpu_percent / 100)
    yield _gauge("memory_size_bytes", "RAM of this machine.", now.memory_bytes)
    yield _gauge("memory_available_bytes", "RAM available to programs.", now.available_bytes)
    alert = settings.memory_alert_percent
    over = bool(alert) and now.memory_percent >= alert
    yield _gauge("memory_alert", "1 while RAM use is past MEMORY_ALERT_PERCENT.", over)
    gpus = [({"gpu": str(gpu.index)}, gpu) for gpu in now.gpus]
    yield _gauge("gpu_memory_size_bytes", "Memory of the GPU.", [(at, gpu.memory_bytes) for at, gpu in gpus])
    yield _gauge("gpu_memory_used_bytes", "Used by all programs.", [(at, gpu.used_bytes) for at, gpu in gpus])
    loads = [(at, gpu.utilization_percent / 100) for at, gpu in gpus if gpu.utilization_percent is not None]
    yield _gauge("gpu_usage_ratio", "Share of the time that the GPU was busy.", loads)


def _versions() -> dict[str, str]:
    return {"version": __version__, "python": platform.python_version()}


def _by(label: str, numbers: Mapping[str, int]) -> list[tuple[dict[str, str], float]]:
    return [({label: name}, number) for name, number in numbers.items()]


def _gauge(name: str, about: str, samples: float | Sequence[tuple[dict[str, str], float]]) -> Metric:
    family = GaugeMetricFamily(f"cyberimage_{name}", about)
    for labels, value in samples if isinstance(samples, Sequence) else [({}, samples)]:
        family.add_sample(family.name, labels, float(value))
    return family
