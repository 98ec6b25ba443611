"""How long a search of the gallery takes: `python -m bench.search [--rows 100000] [--url postgresql+psycopg://…]`

The database is a new one in a temporary folder unless a URL of an empty one is given.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import insert, select

from app.core.prompts import folded
from app.core.request import GenerationRequest
from app.services.job_body import webhook_message
from app.store.db.database import Database
from app.store.db.migrate import migrate
from app.store.db.schema import jobs, outputs
from app.store.media.filters import GalleryQuery
from app.store.media.outputs import OutputStore
from app.store.queue.jobs import JobStore

WORDS = ("boat", "fox", "Wolken", "STRASSE", "sunset", "castle", "portrait", "кот", "桜", "neon", "grün", "watercolor")
WORDS_EACH = 40
ROWS_AT_ONCE = 5000
REPEATS = 15
SEARCHES = {"in every prompt": "a picture", "in one of ten": "RARE1", "in one": "needle wolken", "in none": "nowhere"}


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--url", default="")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(asked.url or f"sqlite:///{folder}/search.db")
        migrate(database)
        fill(database, asked.rows)
        store = OutputStore(database)
        for name, search in SEARCHES.items():
            times = [_seconds(store, search) for _ in range(REPEATS)]
            median, worst = statistics.median(times) * 1000, max(times) * 1000
            print(f"{name:<16} {median:7.1f} ms, at worst {worst:7.1f}")
        database.close()


def fill(database: Database, rows: int) -> None:
    """Insert that many finished jobs, each with an image."""
    request = GenerationRequest(model_id="demo", prompt="x", num_inference_steps=1, seed=1)
    job, _ = JobStore(database, render_webhook=webhook_message).enqueue(
        request, client_id="ip:local", max_attempts=1, idempotency=None
    )
    with database.read() as connection:
        template = dict(connection.execute(select(jobs).where(jobs.c.id == job.id)).one()._mapping)
    del template["seq"]
    made = _rows(template, rows)
    while part := [pair for pair, _ in zip(made, range(ROWS_AT_ONCE), strict=False)]:
        with database.write(durable=False) as connection:
            connection.execute(insert(jobs), [one for one, _ in part])
            connection.execute(insert(outputs), [picture for _, picture in part])


def _rows(template: dict[str, Any], rows: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    chance = random.Random(1)
    for number in range(rows):
        words = " ".join(chance.choices(WORDS, k=WORDS_EACH))
        needle = "NEEDLE" if number == rows // 2 else ""
        prompt = f"A picture, {words}, {f'rare{number % 10}'} {needle}"
        job_id, output_id = f"{number:032x}", f"{number:031x}f"
        path = f"2026/01/01/{output_id}.png"
        manifest = {"prompt": prompt, "settings": {"seed": number}, "about": "x" * 900}
        picture = {
            "id": output_id,
            "job_id": job_id,
            "index": 0,
            "media": "image",
            "model_id": "demo",
            "path": path,
            "thumbnail_path": f"{path}.webp",
            "mime_type": "image/png",
            "width": 1024,
            "height": 1024,
            "bytes": 1,
            "sha256": "0" * 64,
            "seed": number,
            "created_at": float(number),
            "manifest": manifest,
            "owner": "ip:local",
            "search_text": folded(prompt),
        }
        yield template | {"id": job_id, "status": "COMPLETED", "prompt": prompt}, picture


def _seconds(store: OutputStore, search: str) -> float:
    began = time.perf_counter()
    store.page(GalleryQuery(limit=51, search=search))
    return time.perf_counter() - began


if __name__ == "__main__":
    main(sys.argv[1:])
