"""A Prometheus on loopback that scrapes one server every few seconds, with the rules of deploy/."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config import ROOT
from tests.ports import free_port
from tests.waiting import wait_until

SCRAPES = 2  # that a rate needs
INTERVAL = "3s"  # also what a scrape may take


class Prometheus:
    """Queries are answered as of `at`, once `freeze` has set it: a later scrape may time out on a busy machine."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self.at: str | None = None

    def query(self, expression: str) -> list[dict[str, Any]]:
        when = {} if self.at is None else {"time": self.at}
        answer = self._client.get("/api/v1/query", params={"query": expression, **when})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def number(self, expression: str) -> float:
        """The value of an expression that is one series; 0 without any."""
        return sum(float(sample["value"][1]) for sample in self.query(expression))

    def rules(self) -> list[dict[str, Any]]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def wait_for_scrapes(self) -> None:
        """Return after SCRAPES more that succeeded."""
        count = "sum_over_time(up[1h])"
        wanted = self.number(count) + SCRAPES
        wait_until(lambda: self.number(count) >= wanted, "nothing is scraped")

    def freeze(self) -> None:
        """Answer as of the last scrape, once that is one that succeeded."""
        found: list[dict[str, Any]] = []

        def has_succeeded() -> bool:
            found[:] = self.query("timestamp(up == 1)")
            return bool(found)

        wait_until(has_succeeded, "nothing is scraped")
        self.at = found[0]["value"][1]

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """Skips the test where Prometheus is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("DASHBOARD NOT RUN: prometheus is not installed (tools/install_prometheus.sh)")
    configuration = {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(ROOT / "deploy" / name) for name in ("alerts.yml", "slo.yml")],
        "scrape_configs": [{"job_name": "cyberimage", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    port = free_port()
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        wait_until(prometheus.is_ready, "Prometheus did not start")
        yield prometheus
    finally:
        process.kill()
        process.wait()
