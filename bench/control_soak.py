"""An hour of jobs with changing controls: does memory stay flat, and does one job's control get into the next?

    python -m bench.control_soak --minutes 60

Random requests to tiny models, with ControlNets, IP-Adapters, Redux, LoRAs, embeddings, schedulers and upscalers, are
drawn alone first, each by a service of its own, and then in random order by one worker that keeps two models. Now and
then all models are unloaded. Each picture must have the pixels that it has alone, and memory must not grow by more than
2.5 % in the second half.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.control_jobs import Recipe, environment, pixels_of, recipes
from bench.machine import describe_machine
from bench.memory_watch import MemoryWatch
from bench.service import Service, running
from bench.soak import ENDED, report

AHEAD = 6  # jobs in line at a time
UNLOAD_EVERY = 100  # jobs, on average
LOOKS = 50  # at the memory


@dataclass
class Outcome:
    """Jobs by how they ended, by the controls that were in them, and those whose pixels were others than alone. `busy`:
    answers 503, which a client repeats."""

    ended: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    unloads: int = 0


def main() -> int:
    asked = _parser().parse_args()
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="cyberimage-controls-") as name:
        settings = environment(Path(name))
        settings |= {"OMP_NUM_THREADS": "1", "MAX_LOADED_MODELS": "2", "PRELOAD": "none", "CUDA_VISIBLE_DEVICES": "-1"}
        chosen = recipes(asked.recipes, asked.seed)
        alone = [_alone(recipe, settings) for recipe in chosen]
        print(f"{len(chosen)} requests were drawn alone; {len(set(alone))} pictures are different", flush=True)
        with running(**settings) as service, _client(service) as client:
            watch = MemoryWatch(service.process.pid, every=3600)
            outcome = run(client, list(zip(chosen, alone, strict=True)), asked.minutes * 60, asked.seed, watch)
    print(f"\njobs, by how they ended: {dict(outcome.ended)}; all models were unloaded {outcome.unloads} times")
    print(f"controls in them: {dict(outcome.kinds)}")
    print(f"answers 503, by their codes: {dict(outcome.busy) or 'none'}")
    print(f"pictures that another job changed: {dict(outcome.changed) or 'none'}")
    for fault, times in outcome.faults.items():
        print(f"{times} x {fault}")
    for role, seen in watch.seen.items():
        print(f"{role}, MB over time: {' '.join(f'{size / 2**20:.0f}' for _, size in seen[:: max(1, LOOKS // 10)])}")
    return 0 if report(watch) and set(outcome.ended) == {"COMPLETED"} and not outcome.changed else 1


def _alone(recipe: Recipe, settings: Mapping[str, str]) -> bytes:
    """The pixels of the picture that a new service draws first."""
    with running(**settings) as service, _client(service) as client:
        last = service.generate(client, **recipe.body)
        if last["status"] != "COMPLETED":
            raise RuntimeError(f"{recipe.name}: {last['error']}")
        return pixels_of(client.get(last["images"][0]["url"]).raise_for_status().content)


def _client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60)


def run(
    client: httpx.Client, known: Sequence[tuple[Recipe, bytes]], seconds: float, seed: int, watch: MemoryWatch
) -> Outcome:
    """Keep a short line of jobs for `seconds`, and look at the memory LOOKS times."""
    order, outcome, waiting = random.Random(seed), Outcome(), deque[tuple[str, Recipe, bytes]]()
    began = time.monotonic()
    while time.monotonic() - began < seconds or waiting:
        while len(waiting) < AHEAD and time.monotonic() - began < seconds:
            recipe, pixels = order.choice(known)
            answer = _asked(client, "POST", "/api/generate", outcome, recipe.body)
            waiting.append((answer.json()["job_id"], recipe, pixels))
        if _settle(client, *waiting[0], outcome):
            waiting.popleft()
            if order.random() < 1 / UNLOAD_EVERY:
                _asked(client, "POST", "/api/v1/models/unload", outcome, {})
                outcome.unloads += 1
        else:
            time.sleep(0.02)
        if time.monotonic() - began >= len(watch.seen.get("worker", ())) * seconds / LOOKS:
            watch.look()
    return outcome


def _asked(client: httpx.Client, method: str, url: str, outcome: Outcome, body: object = None) -> httpx.Response:
    """The answer, asked for again while the server says that it is busy (503), which is counted."""
    while (answer := client.request(method, url, json=body)).status_code == 503:
        outcome.busy[answer.json().get("code", "")] += 1
        time.sleep(int(answer.headers.get("Retry-After", 1)))
    return answer.raise_for_status()


def _settle(client: httpx.Client, job_id: str, recipe: Recipe, pixels: bytes, outcome: Outcome) -> bool:
    """Count the job if it has ended."""
    seen = _asked(client, "GET", f"/api/status/{job_id}", outcome).json()
    if seen["status"] not in ENDED:
        return False
    outcome.ended[seen["status"]] += 1
    outcome.kinds.update(recipe.kinds or ["none"])
    if seen["status"] == "COMPLETED":
        content = _asked(client, "GET", seen["images"][0]["url"], outcome).content
        if pixels_of(content) != pixels:
            outcome.changed[recipe.name] += 1
    else:
        outcome.faults[f"{recipe.name}: {seen['error']}"] += 1
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.control_soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--recipes", type=int, default=36, help="different requests")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
