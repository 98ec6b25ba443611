"""Latency of single store calls, in an empty database and in one with a history and a long queue."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.config import load_settings
from app.services.context import AppContext, open_context
from app.services.media import gallery
from app.services.ops import stats
from app.store.media.filters import GalleryQuery
from bench.store.history import REQUEST, Stores


@dataclass(frozen=True)
class Latency:
    """Milliseconds."""

    call: str
    history: int
    waiting: int
    p50: float
    p95: float


def measure(sizes: list[tuple[int, int]], *, samples: int) -> list[Latency]:
    """For each (history, waiting) of `sizes`."""
    found = []
    for history, waiting in sizes:
        with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
            stores = Stores(Path(name) / "queue.db")
            stores.write_past(history)
            stores.write_line(waiting)
            context = _context(Path(name))
            for call, action in _calls(stores, context).items():
                p50, p95 = _percentiles(action, samples)
                found.append(Latency(call, history, waiting, p50, p95))
    return found


def _context(folder: Path) -> AppContext:
    return open_context(
        load_settings(
            {},
            None,
            database_url=f"sqlite:///{folder / 'queue.db'}",
            images_dir=folder / "images",
            videos_dir=folder / "videos",
            log_dir=folder / "logs",
        )
    )


def _calls(stores: Stores, context: AppContext) -> dict[str, Callable[[], object]]:
    def claim() -> None:
        taken = stores.claims.claim("w1")
        assert taken is not None

    def claim_with_models() -> None:
        taken = stores.claims.claim("w1", ["model-3", "model-4"])
        assert taken is not None

    def second_page() -> None:
        first = gallery.page(context, GalleryQuery())
        if first.next is not None:
            gallery.page(context, GalleryQuery(after=first.next))

    return {
        "enqueue": lambda: stores.jobs.enqueue(REQUEST, client_id="somebody"),
        "claim": claim,
        "claim, holding two models": claim_with_models,
        "queue overview (/api/queue)": lambda: stats.queue(context),
        "gallery, first page (/api/images)": lambda: gallery.page(context, GalleryQuery()),
        "gallery, two pages": second_page,
        "gallery of one model": lambda: gallery.page(context, GalleryQuery(model_id="model-3")),
        "gallery of videos (there are none)": lambda: gallery.page(context, GalleryQuery(media="video")),
        "expire leases": lambda: stores.claims.expire_leases(),
    }


def _percentiles(action: Callable[[], object], samples: int) -> tuple[float, float]:
    taken = []
    for _ in range(samples):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    taken.sort()
    return round(taken[len(taken) // 2], 2), round(taken[int(len(taken) * 0.95)], 2)
