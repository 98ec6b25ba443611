"""Prints the results as tables, and checks them against the targets."""

from __future__ import annotations

from collections.abc import Sequence

from bench.store.contenders import COMMITS_PER_CYCLE
from bench.store.latency import Latency
from bench.store.throughput import Rate

AT_LEAST_OF_HUEY = 0.8
FLAT = 0.8  # of the rate without a past
CLAIM_AT_MOST = 2.0  # times the empty one
PAGE_AT_MOST_MS = 50.0


def rate_table(rates: Sequence[Rate]) -> str:
    lines = [
        f"Jobs/s at synchronous=FULL, {COMMITS_PER_CYCLE} commits a job (medians of short rounds in turn).",
        "",
        "| workers | history | ours | huey | ours / huey | raw commits ÷ 3 | ours / raw |",
        "|---|---|---|---|---|---|---|",
    ]
    for rate in rates:
        lines.append(
            f"| {rate.workers} | {rate.history:,} | {rate.ours:.0f} | {rate.huey:.0f} | {rate.of_huey:.2f} |"
            f" {rate.raw:.0f} | {rate.of_raw:.2f} |"
        )
    return "\n".join(lines)


def latency_table(latencies: Sequence[Latency]) -> str:
    lines = ["| call | history | waiting | p50 ms | p95 ms |", "|---|---|---|---|---|"]
    for one in sorted(latencies, key=lambda one: (one.call, one.history)):
        lines.append(f"| {one.call} | {one.history:,} | {one.waiting:,} | {one.p50:.2f} | {one.p95:.2f} |")
    return "\n".join(lines)


def verdicts(rates: Sequence[Rate], latencies: Sequence[Latency]) -> list[tuple[str, bool]]:
    """Each target with its figures, and whether it is met."""
    found: list[tuple[str, bool]] = []
    for rate in rates:
        what = f"{rate.workers} workers, {rate.history:,} jobs of history: {rate.of_huey:.2f} × huey"
        found.append((f"{what} (at least {AT_LEAST_OF_HUEY})", rate.of_huey >= AT_LEAST_OF_HUEY))
    for workers in sorted({rate.workers for rate in rates}):
        few, *_, many = sorted((rate for rate in rates if rate.workers == workers), key=lambda rate: rate.history)
        ratio = many.of_raw / few.of_raw  # against raw commits of the same seconds: the weather cancels out
        what = f"{workers} workers: with {many.history:,} jobs of history {ratio:.2f} of the rate without"
        found.append((f"{what} (at least {FLAT})", ratio >= FLAT))
    for call in ("claim", "claim, holding two models") if latencies else ():
        few, many = sorted((one for one in latencies if one.call == call), key=lambda one: one.history)
        ratio = many.p50 / few.p50
        found.append((f"{call}: p50 {ratio:.2f} × the empty one (at most {CLAIM_AT_MOST:g})", ratio <= CLAIM_AT_MOST))
    for one in latencies:
        if one.history and "/api/" in one.call:
            what = f"{one.call} with {one.history:,} jobs: p95 {one.p95:.1f} ms (at most {PAGE_AT_MOST_MS:g})"
            found.append((what, one.p95 <= PAGE_AT_MOST_MS))
    return found
