"""The dashboard and the alert rules use only metrics and labels that a server exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

import pytest
import yaml
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app import create_app
from app.config import ROOT, load_settings
from app.monitoring.requests import RefusalMetrics, RequestMetrics
from app.monitoring.resources import Machine
from app.services.context import open_context
from app.services.ops.metrics import InstallationMetrics

DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
SLO = yaml.safe_load((ROOT / "deploy" / "slo.yml").read_text())
SLO_RULES = [rule for group in SLO["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in SLO_RULES if "record" in rule}
SLO_ALERTS = [rule for rule in SLO_RULES if "alert" in rule]
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
EXPRESSIONS += [rule["expr"] for rule in (*RULES, *SLO_RULES)]
FROM_ELSEWHERE = {"up", "process_resident_memory_bytes"}
LABELS_BY_PROMETHEUS = {"instance", "job", "le"}
LABELS = {
    "cause",
    "model",
    "phase",
    "outcome",
    "reason",
    "status",
    "state",
    "device",
    "route",
    "method",
    "gpu",
    "host",
    "kind",
    "lane",
    "provider",
}
WORDS = {"and", "sum", "max", "min", "by", "rate", "increase", "histogram_quantile"}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    folder = tmp_path_factory.mktemp("metrics")
    places = {"database_url": f"sqlite:///{folder}/db", "images_dir": folder / "images"}
    context = open_context(load_settings({}, None, **places))
    registry = CollectorRegistry()
    RequestMetrics(registry)
    RefusalMetrics(registry)
    registry.register(InstallationMetrics(context, Machine()))
    found = {metric.name: metric for metric in registry.collect()}
    context.close()
    return found


def names_of(families: dict[str, Metric]) -> set[str]:
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {name + suffix for name, metric in families.items() for suffix in suffixes[metric.type]}


def test_there_is_something_to_check() -> None:
    assert len(EXPRESSIONS) > 25
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 10


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_name_in_an_expression_exists(families: dict[str, Metric], expression: str) -> None:
    text = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)  # values of labels, and ranges
    used = set(re.findall(r"[a-z_][\w:]*", text)) - WORDS - LABELS - LABELS_BY_PROMETHEUS
    assert used
    assert used <= names_of(families) | FROM_ELSEWHERE | RECORDED


@pytest.fixture(scope="module")
def fresh_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application of an installation in which nothing has happened yet."""
    folder = tmp_path_factory.mktemp("fresh")
    lines = {"MODEL_R": "far;owner/far;A model of a provider;replicate;false;{}"}
    places = {"database_url": f"sqlite:///{folder}/db", "images_dir": folder / "images"}
    app = create_app(load_settings(lines, None, **places))
    yield app
    app.extensions["cyberimage"].close()


def test_every_route_in_an_expression_exists(fresh_app: Flask) -> None:
    """A route that was renamed would leave an alert that never fires."""
    routes = {route for expression in EXPRESSIONS for route in re.findall(r'\broute="([^"]*)"', expression)}
    assert routes
    assert routes <= {rule.rule for rule in fresh_app.url_map.iter_rules()}


@pytest.fixture(scope="module")
def samples(fresh_app: Flask) -> list[Sample]:
    scrape = fresh_app.test_client().get("/metrics").text
    return [sample for family in text_string_to_metric_families(scrape) for sample in family.samples]


@pytest.mark.parametrize("expression", [each for each in EXPRESSIONS if "_total" in each])
def test_every_counter_in_an_expression_begins_at_zero(samples: list[Sample], expression: str) -> None:
    """Prometheus sees no increase in a series that is born with its first fault."""
    for name, matchers in re.findall(r"(cyberimage_\w+_total)(?:\{([^}]*)\})?", expression):
        chosen = [sample for sample in samples if sample.name == name and _fits(sample.labels, matchers)]
        assert chosen, f"{name}{{{matchers}}} has no series"
        assert all(sample.value == 0 for sample in chosen) or name == "cyberimage_http_requests_total"


def _fits(labels: Mapping[str, str], matchers: str) -> bool:
    """Whether a series with `labels` is chosen by Prometheus' `matchers`."""
    for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
        matches = re.fullmatch(value if "~" in operator else re.escape(value), labels.get(label, "")) is not None
        if matches is (operator[0] == "!"):
            return False
    return True


def test_every_family_is_named_as_it_should_be(families: dict[str, Metric]) -> None:
    for name, metric in families.items():
        assert re.fullmatch(r"cyberimage_[a-z_]+", name), name
        assert metric.documentation.endswith("."), name
        assert not name.endswith(("_ms", "_milliseconds", "_mb", "_percent", "_total")), name
        if "duration" in name or "age" in name.split("_"):
            assert name.endswith("_seconds"), name


def test_every_label_is_known(families: dict[str, Metric]) -> None:
    """An id in a label would create a series for every job."""
    for metric in families.values():
        for sample in metric.samples:
            assert set(sample.labels) <= LABELS | LABELS_BY_PROMETHEUS | {"version", "python"}, sample


def test_every_rule_has_an_explanation() -> None:
    for rule in (*RULES, *SLO_ALERTS):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith((".", "?"))


def test_each_objective_is_recorded_and_watched_in_windows_of_two_lengths() -> None:
    """A pair of windows whose ratio is recorded; the thresholds are the budget times the same factors."""
    factors = {"1h": ("5m", 14.4), "6h": ("30m", 6.0), "1d": ("2h", 3.0), "3d": ("6h", 1.0)}
    for objective, budget in {"requests": 0.001, "jobs": 0.01, "status": 0.01}.items():
        alerts = [rule for rule in SLO_ALERTS if f"cyberimage:{objective}:" in rule["expr"]]
        assert [rule["labels"]["window"] for rule in alerts] == list(factors)
        for rule in alerts:
            short, factor = factors[rule["labels"]["window"]]
            found = re.findall(rf"cyberimage:{objective}:error_ratio_(\w+) > ([\d.]+)", rule["expr"])
            assert [window for window, _ in found] == [rule["labels"]["window"], short]
            assert [float(limit) for _, limit in found] == [pytest.approx(factor * budget)] * 2
            assert {f"cyberimage:{objective}:error_ratio_{window}" for window, _ in found} <= RECORDED


@pytest.mark.parametrize("file", ["alerts_test.yml", "slo_test.yml"])
def test_prometheus_fires_the_alerts(file: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("ALERT RULES NOT RUN: promtool is not installed (package prometheus)")
    run = subprocess.run(
        ["promtool", "test", "rules", f"tests/monitoring/{file}"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
