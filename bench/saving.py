"""Encoding and saving beside the next generation: how much of a save the next job's first step waits for.

Two large pictures are submitted at once. The gap is from the end of the first one's generation to the claim of the
second; it is compared with the time that saving the first one took.
"""

from __future__ import annotations

import statistics
import tempfile
from datetime import datetime
from pathlib import Path

import httpx

from bench.service import running
from tools.tiny_models.build import build

ROUNDS = 8
SETTINGS = {"num_inference_steps": 1, "width": 768, "height": 768, "seed": 1}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build("sd15", Path(folder))
        line = f'tiny;{checkpoint};Tiny SD 1.5;local;false;{{"steps": {{"min": 1, "max": 50, "default": 2}}}}'
        gaps, saves = [], []
        with running(MODEL_TINY=line) as service, httpx.Client(base_url=service.url, timeout=120) as client:
            service.generate(client, prompt="warm up", model_id="tiny", settings=SETTINGS)
            for _ in range(ROUNDS):
                first, second = pair(client)
                save = first["timings"]["saving"]
                generated = parse(first["completed_at"]) - save
                gaps.append(max(0.0, parse(second["started_at"]) - generated))
                saves.append(save)
    print("| | median ms |\n|---|---|")
    print(f"| saving one picture | {statistics.median(saves) * 1000:.0f} |")
    print(f"| the next job starts after | {statistics.median(gaps) * 1000:.0f} |")
    print(f"\nratio {statistics.median(g / s for g, s in zip(gaps, saves, strict=True)):.2f} (1 = waited for it all)")


def pair(client: httpx.Client) -> tuple[dict, dict]:
    """Submit two jobs together; returns both when they are done."""
    body = {"prompt": "a large picture", "model_id": "tiny", "settings": SETTINGS}
    answers = [client.post("/api/generate", json=body).json() for _ in range(2)]
    for answer in answers:
        with client.stream("GET", answer["events_url"]) as stream:
            for _ in stream.iter_lines():
                pass
    first, second = (client.get(answer["status_url"]).json() for answer in answers)
    return first, second


def parse(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
