"""`python -m bench.store`: measure, print the tables and the verdicts; `--out` writes both down."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.machine import describe_machine
from bench.store import latency, throughput
from bench.store.disk import sync_milliseconds
from bench.store.report import latency_table, rate_table, verdicts


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the history and short rounds")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--sync-ms", type=float, default=0.0, help="make each sync take so much longer")
    parser.add_argument("--rates-only", action="store_true", help="leave the latencies out")
    parser.add_argument("--out", type=Path, help="folder for store.json and store.md")
    asked = parser.parse_args(arguments)
    most = 100_000 if asked.quick else 1_000_000
    rates = throughput.measure([0, most // 10, most], seconds=asked.seconds, rounds=asked.rounds, sync_ms=asked.sync_ms)
    latencies = [] if asked.rates_only else latency.measure([(0, 1000), (most, most // 10)], samples=300)
    kept = verdicts(rates, latencies)
    text = "\n\n".join(
        [
            describe_machine(),
            describe_disk(asked.sync_ms),
            rate_table(rates),
            *([latency_table(latencies)] if latencies else []),
            "\n".join(f"- {'kept' if ok else 'NOT KEPT'}: {what}" for what, ok in kept),
        ]
    )
    print(text)
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "store.md").write_text(text + "\n", encoding="utf-8")
        data = {"rates": [asdict(rate) for rate in rates], "latencies": [asdict(one) for one in latencies]}
        (asked.out / "store.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 0 if all(ok for _, ok in kept) else 1


def describe_disk(added_ms: float) -> str:
    with tempfile.TemporaryDirectory(prefix="cyberimage-bench-") as name:
        own = sync_milliseconds(Path(name))
    return f"A sync takes {own:.2f} ms" + (f", and {added_ms:g} ms were added to each." if added_ms else ".")


if __name__ == "__main__":
    sys.exit(main())
