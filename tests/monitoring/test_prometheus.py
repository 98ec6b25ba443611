"""A real Prometheus scrapes a server in which jobs of all kinds have ended: every panel of the dashboard has data."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from werkzeug.serving import make_server

from app import create_app
from app.errors import GenerationError, OutOfMemory
from app.monitoring import resources
from app.monitoring.resources import Gpu
from app.worker.remote_worker import remote_worker
from tests.monitoring.prometheus import Prometheus, scraping
from tests.monitoring.test_deploy import DASHBOARD
from tests.providers.replicate_server import TOKEN, replicate
from tests.waiting import PATIENCE, wait_until
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness

QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
GPU = Gpu(0, "RTX", 24_000_000_000, 3_000_000_000, 40, 50)
DRAWN = 16


@contextmanager
def served(harness: Harness) -> Iterator[str]:
    """Host and port of the API."""
    server = make_server("127.0.0.1", 0, create_app(harness.context.settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@contextmanager
def remote_lane(harness: Harness) -> Iterator[None]:
    worker = remote_worker(harness.context)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield
    worker.stop(0)
    thread.join(PATIENCE)


def tour(harness: Harness, client: httpx.Client) -> None:
    """20 jobs: one is cancelled, one fails, one runs out of memory, one is drawn by a provider."""
    engine = FakeEngine()
    engine.behaviours = {"broken": fails(GenerationError("It broke.")), "huge": fails(OutOfMemory("Too large."))}

    def submit(prompt: str, model_id: str = "fake") -> str:
        answer = client.post("/api/generate", json={"prompt": prompt, "model_id": model_id})
        return str(answer.raise_for_status().json()["job_id"])

    cancelled = submit("never mind")
    client.post(f"/api/jobs/{cancelled}/cancel").raise_for_status()
    jobs = [cancelled, *(submit(f"boat {number}") for number in range(1, DRAWN)), submit("broken")]
    jobs += [submit("a boat", "painter"), submit("huge")]
    harness.start(engine)
    with remote_lane(harness):
        ends = [harness.ended(job_id).job for job_id in jobs]
        assert sorted(str(job.error_code) for job in ends if job.error_code) == ["generation_failed", "out_of_memory"]
    harness.start(FakeEngine())  # the other one ended with its job
    last = submit("the last boat")
    harness.completed(last)
    client.get(f"/api/status/{last}").raise_for_status()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Prometheus]:
    """After the tour, on a machine with a GPU."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(resources, "gpus", lambda: iter([GPU]))
        provider = stack.enter_context(replicate())
        harness = Harness(
            tmp_path_factory.mktemp("tour"),
            migrated_sqlite,
            REPLICATE_API_TOKEN=TOKEN,
            REPLICATE_BASE_URL=provider.url,
            MODEL_PAINTER="painter;acme/painter;A painter;replicate;false",
        )
        stack.callback(harness.close)
        target = stack.enter_context(served(harness))
        prometheus = stack.enter_context(scraping(target, tmp_path_factory.mktemp("prometheus")))
        wait_until(lambda: prometheus.number("up"), "nothing is scraped")
        with httpx.Client(base_url=f"http://{target}", timeout=30) as client:
            tour(harness, client)
        wait_until(lambda: prometheus.number("sum(cyberimage_jobs_ended_total)") == DRAWN + 4, "not all jobs ended")
        prometheus.wait_for_scrapes()
        prometheus.freeze()
        yield prometheus


@pytest.mark.parametrize("expression", QUERIES)
def test_a_query_of_the_dashboard_has_data(prometheus: Prometheus, expression: str) -> None:
    assert prometheus.query(expression.replace("$__rate_interval", "10m"))


def test_the_ends_of_the_jobs_are_increases(prometheus: Prometheus) -> None:
    """Each series began at zero, before its first job."""
    ended = "sum by (outcome) (increase(cyberimage_jobs_ended_total[10m])) > 0"
    outcomes = {sample["metric"]["outcome"] for sample in prometheus.query(ended)}
    assert outcomes == {"completed", "cancelled", "generation_failed", "out_of_memory"}


def test_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), "rules were not evaluated")
    assert [rule["name"] for rule in prometheus.rules() if rule["health"] != "ok"] == []

    def fired() -> set[str]:
        return {rule["name"] for rule in prometheus.rules() if rule["type"] == "alerting" and rule["alerts"]}

    wait_until(lambda: "CyberImageOutOfMemory" in fired(), "the job that ran out of memory is not reported")


def test_promtool_has_nothing_to_say_about_the_metrics(prometheus: Prometheus) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("METRICS NOT CHECKED: promtool is not installed (package prometheus)")
    (target,) = {sample["metric"]["instance"] for sample in prometheus.query("up")}
    scrape = httpx.get(f"http://{target}/metrics").text
    checked = subprocess.run(["promtool", "check", "metrics"], input=scrape, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
