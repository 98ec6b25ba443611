"""/metrics and /status: the whole installation in one answer, from bounded labels, also while the database is away."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.errors import DatabaseUnavailable
from app.monitoring.requests import LAST_REQUESTS
from app.services.ops.zero_counters import MOST_OTHERS, with_bounded_models
from app.store.ops.counters import Counter


@pytest.fixture
def sample(client):
    """The value of a sample of /metrics; None when there is none with these labels."""

    def read(name: str, **labels: str) -> float | None:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
        for family in text_string_to_metric_families(answer.text):
            for found in family.samples:
                if found.name == f"cyberimage_{name}" and labels.items() <= found.labels.items():
                    return found.value
        return None

    return read


def test_the_queue_and_its_ends(submit, worker, sample):
    for _ in range(4):
        submit(model_id="demo")
    worker.finish()
    worker.fail()
    worker.claim()
    assert sample("jobs", status="pending") == 1
    assert sample("jobs_waiting", model="demo") == 1
    assert sample("jobs_running", model="demo") == 1
    assert sample("jobs_accepted_total", model="demo") == 4
    assert sample("jobs_ended_total", model="demo", outcome="completed") == 1
    assert sample("jobs_ended_total", model="demo", outcome="out_of_memory") == 1
    assert sample("images") == 1
    assert sample("images_bytes") > 100
    assert sample("oldest_waiting_job_age_seconds") >= 0
    assert sample("database_up") == 1


def test_durations_are_a_histogram(context, sample):
    context.counters.add(
        {
            Counter("phase_seconds", "demo", "generating"): 33.5,
            Counter("phase_bucket", "demo", "generating/2.5"): 2,
            Counter("phase_bucket", "demo", "generating/60.0"): 1,
        }
    )
    of = {"model": "demo", "phase": "generating"}
    assert [sample("job_phase_seconds_bucket", le=le, **of) for le in ("1.0", "2.5", "30.0", "60.0", "+Inf")] == [
        0, 2, 2, 3, 3,
    ]  # fmt: skip
    assert sample("job_phase_seconds_sum", **of) == 33.5
    assert sample("job_phase_seconds_count", **of) == 3


def test_requests_are_counted_by_route_and_never_by_what_clients_make_up(client, sample):
    for number in range(50):
        client.get(f"/api/status/{number:032x}")
        client.get(f"/wp-login-{number}.php")
        client.open("/livez", method=f"MADEUP{number}")
    route = "/api/status/<job_id>"
    assert sample("http_requests_total", route=route, status="404", method="GET") == 50
    assert sample("http_request_duration_seconds_count", route=route) == 50
    assert sample("http_requests_total", route="other", status="404") == 50
    series = [line for line in client.get("/metrics").text.splitlines() if line.startswith("cyberimage_http_requests")]
    counted = [line for line in series if not line.endswith(" 0.0")]  # the others are those of known routes
    assert len(counted) < 10, counted
    assert sample("http_requests_total", method="other", status="405") == 50


def test_models_of_providers_have_a_bounded_number_of_series(client, context, sample):
    names = [f"acme/painter-{number:04}" for number in range(MOST_OTHERS + 50)]
    context.counters.add({Counter("jobs_ended", name, "completed"): 2 for name in names})
    context.counters.add({Counter("jobs_ended", "demo", "completed"): 3})
    ended = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("cyberimage_jobs_ended_total")
    ]
    shown = {re.search(r'model="([^"]*)"', line)[1] for line in ended}
    assert len(shown - {spec.id for spec in context.catalog}) == MOST_OTHERS + 1
    assert sample("jobs_ended_total", model=names[0], outcome="completed") == 2
    assert sample("jobs_ended_total", model="other", outcome="completed") == 100
    assert sample("jobs_ended_total", model="demo", outcome="completed") == 3
    assert sample("jobs_ended_total", model="other", outcome="out_of_memory") == 0


def test_a_model_that_comes_later_makes_no_counter_decrease(context):
    """A decrease would be a restart to Prometheus, and the whole count an increase."""
    counters: dict[Counter, float] = {}
    before: Mapping[Counter, float] = {}
    for number in (*range(0, 400, 2), *range(399, 0, -2)):
        counters[Counter("jobs_ended", f"acme/painter-{number:04}", "completed")] = 1.0
        now = with_bounded_models(counters, context.catalog)
        assert sum(now.values()) == len(counters)
        assert all(now[key] >= value for key, value in before.items() if key in now)
        before = now


def test_idle_models_have_gauges_too(context, sample):
    """A panel would say that it has no data."""
    for name in ("jobs_waiting", "jobs_running", "models_loaded", "models_parked"):
        assert {sample(name, model=spec.id) for spec in context.catalog} == {0}, name


def test_the_database_away_hides_only_itself(context, sample, monkeypatch):
    def away(*_):
        raise DatabaseUnavailable("Away.")

    monkeypatch.setattr(context.workers, "live", away)
    assert sample("database_up") == 0
    assert sample("disk_free_bytes") > 0
    assert sample("http_requests_total", route="/metrics", status="200") >= 1


def test_the_status_tells_of_machine_and_requests(client, context):
    for _ in range(3):
        client.get("/livez")
    body = client.get("/status").json
    assert 0 <= body["cpu"]["percent"] <= 100
    assert body["cpu"]["count"] >= 1
    assert body["memory"]["total_bytes"] > body["memory"]["available_bytes"] > 0
    assert body["memory"]["api_rss_bytes"] > 10_000_000
    assert {"cyberimage", "python", "flask"} <= set(body["versions"])
    assert body["requests"]["count"] >= 3
    assert body["requests"]["error_rate"] == 0
    assert 0 < body["requests"]["seconds"]["p50"] <= body["requests"]["seconds"]["p99"]


def test_the_error_rate_is_of_the_last_requests(app):
    meter = app.extensions["cyberimage"].meter
    for _ in range(LAST_REQUESTS):
        meter.observe("GET", "/x", 503, 9.0)
    for number in range(LAST_REQUESTS // 4):
        meter.observe("GET", "/x", 200, number / 1000)
    recent = meter.recent()
    assert (recent.count, recent.error_rate, recent.p99) == (LAST_REQUESTS, 0.75, 9.0)


def test_every_state_of_a_worker_has_its_series_from_the_start(sample):
    """Else it appears with the first worker in that state, and vanishes after it."""
    assert [sample("workers", state=state) for state in ("idle", "busy", "loading", "draining")] == [0.0] * 4
