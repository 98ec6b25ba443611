"""The dashboard and the alert rules use only metrics and labels that a server exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from app import create_app
from app.config import ROOT, load_settings
from app.monitoring.requests import RefusalMetrics, RequestMetrics
from app.monitoring.resources import Machine
from app.services.context import open_context
from app.services.ops.metrics import InstallationMetrics

DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
EXPRESSIONS += [rule["expr"] for rule in RULES]
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
    used = set(re.findall(r"[a-z_]\w*", text)) - WORDS - LABELS - LABELS_BY_PROMETHEUS
    assert used
    assert used <= names_of(families) | FROM_ELSEWHERE


def test_every_route_in_an_expression_exists(tmp_path: Path) -> None:
    """A route that was renamed would leave an alert that never fires."""
    places = {"database_url": f"sqlite:///{tmp_path}/db", "images_dir": tmp_path / "images"}
    app = create_app(load_settings({}, None, **places))
    app.extensions["cyberimage"].context.close()
    routes = {route for expression in EXPRESSIONS for route in re.findall(r'\broute="([^"]*)"', expression)}
    assert routes
    assert routes <= {rule.rule for rule in app.url_map.iter_rules()}


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
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith((".", "?"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (package prometheus)")
def test_prometheus_fires_the_alerts() -> None:
    run = subprocess.run(
        ["promtool", "test", "rules", "tests/monitoring/alerts_test.yml"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
