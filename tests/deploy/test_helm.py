"""The chart of deploy/helm: rendered by helm, valid by the schemas of Kubernetes, in agreement with the settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.config import ROOT, Settings, load_settings

CHART = ROOT / "deploy" / "helm" / "cyberimage"
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}  # of operators: their schemas are not Kubernetes' own
OLDEST, NEWEST = "1.27", "1.37"
BUCKET = {"media": {"bucket": "s3://pictures/of/us"}}
SCALED = {"lane": "local", "scale": {"enabled": True, "models": ["flux.1-dev", "demo"], "max": 7}}
EVERYTHING: dict[str, Any] = {
    "image": {"pullSecrets": ["registry"], "tag": "abc"},
    "settings": {"LOG_FORMAT": "ecs", "JOB_TIMEOUT_SECONDS": 900, "LORA_MAX_BYTES": 4_294_967_296},
    "media": {"bucket": "s3://pictures", "endpoint": "https://s3.example.org"},
    "api": {
        "replicas": 3,
        "nodeSelector": {"disk": "ssd"},
        "ingress": {"enabled": True, "host": "pictures.example.org", "className": "nginx", "tlsSecret": "tls"},
    },
    "worker": {"models": {"storageClass": "fast"}},
    "workers": {
        "gpu": {},
        "large": {"gpus": 2, "nodeSelector": {"gpu": "h200"}, "tolerations": [{"operator": "Exists"}], **SCALED},
        "remote": {"lane": "remote", "gpus": 0, "models": {"claim": "weights"}, "scale": {"enabled": True}},
    },
    "prometheus": "http://prometheus:9090",
    "monitoring": {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"apiFrom": [{"podSelector": {}}], "egress": [{"ports": [{"port": 5432}]}]},
}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if program is None:
        pytest.skip("THE CHART WAS NOT TESTED: helm is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)


def rendered(tmp_path: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects that the chart makes of `values`."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(dict(values)))
    done = helm("template", "ours", str(CHART), "--namespace", "pictures", "--values", str(tmp_path / "values.yaml"))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(params=[BUCKET, {"media": {"claim": "shared"}}, EVERYTHING], ids=["bucket", "claim", "everything"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    return rendered(tmp_path, request.param)


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, f"ours-cyberimage{name}")
    ]
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in objects:
        if each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def test_the_linter_has_nothing_to_say() -> None:
    done = helm("lint", "--strict", "--quiet", str(CHART), "--set", "media.bucket=s3://pictures")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_what_it_makes(objects: list[dict[str, Any]], version: str) -> None:
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_names_are_unique_and_all_objects_belong_to_the_release(objects: list[dict[str, Any]]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert all(each["metadata"]["labels"]["app.kubernetes.io/instance"] == "ours" for each in objects)


VOLUMES = re.search(r"^VOLUME (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_no_pod_runs_as_root_or_writes_to_its_image(objects: list[dict[str, Any]]) -> None:
    assert VOLUMES
    volumes = json.loads(VOLUMES[1])
    for name, pod in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # Kubernetes' own variables would be read as settings
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted >= {"/tmp", *volumes}
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_every_variable_is_a_setting_and_the_service_takes_them(objects: list[dict[str, Any]]) -> None:
    settings = named(objects, "ConfigMap", "")["data"]
    assert settings.get("LORA_MAX_BYTES", "4294967296") == "4294967296"
    for _, pod in pods(objects):
        own = {each["name"]: each["value"] for each in pod["containers"][0].get("env", ())}
        assert {name.lower() for name in settings.keys() | own.keys()} <= Settings.model_fields.keys()
        load_settings({**settings, **own, "DATABASE_URL": "postgresql+psycopg://a:b@database/c"}, env_file=None)


def test_api_servers_answer_on_while_they_stop_and_do_not_wait_for_workers(objects: list[dict[str, Any]]) -> None:
    pod = named(objects, "Deployment", "-api")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = next(int(each["value"]) for each in container["env"] if each["name"] == "DRAIN_SECONDS")
    assert 0 < drain < pod["terminationGracePeriodSeconds"] - 30
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}  # /readyz is 503 without a worker


def test_workers_have_their_gpus_and_time_to_end_a_job(tmp_path: Path) -> None:
    objects = rendered(tmp_path, EVERYTHING)
    limits = {
        name: pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        for name, pod in pods(objects)
        if "-worker-" in name
    }
    assert limits == {
        "ours-cyberimage-worker-gpu": "1",
        "ours-cyberimage-worker-large": "2",
        "ours-cyberimage-worker-remote": None,
    }
    remote = named(objects, "Deployment", "-worker-remote")["spec"]["template"]["spec"]
    assert remote["containers"][0]["command"] == ["python", "worker.py", "--lane", "remote"]
    assert remote["terminationGracePeriodSeconds"] > 60
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "weights"}} in remote["volumes"]


def test_who_scales_leaves_the_number_of_workers_to_keda(tmp_path: Path) -> None:
    objects = rendered(tmp_path, EVERYTHING)
    assert "replicas" not in named(objects, "Deployment", "-worker-large")["spec"]
    assert named(objects, "Deployment", "-worker-gpu")["spec"]["replicas"] == 1
    scaled = named(objects, "ScaledObject", "-worker-large")["spec"]
    assert scaled["scaleTargetRef"] == {"name": "ours-cyberimage-worker-large"}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 7)
    assert r'model=~"flux\\.1-dev|demo"' in scaled["triggers"][0]["metadata"]["query"]
    remote = named(objects, "ScaledObject", "-worker-remote")["spec"]["triggers"][0]["metadata"]["query"]
    assert 'lane="remote"' in remote


def test_prometheus_reads_the_queries(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    objects = rendered(tmp_path, EVERYTHING)
    queries = [each["spec"]["triggers"][0]["metadata"]["query"] for each in objects if each["kind"] == "ScaledObject"]
    rules = [{"record": f"scaled:{number}", "expr": query} for number, query in enumerate(queries)]
    groups = [{"name": "queries", "rules": rules}]
    for each in objects:
        if each["kind"] == "PrometheusRule":
            groups += each["spec"]["groups"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run([promtool, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(queries) == 2


def test_nobody_reaches_the_workers(objects: list[dict[str, Any]]) -> None:
    everyone = named(objects, "NetworkPolicy", "")["spec"]
    assert (everyone["ingress"], everyone["policyTypes"]) == ([], ["Ingress", "Egress"])
    (allowed,) = named(objects, "NetworkPolicy", "-api")["spec"]["ingress"]
    assert allowed["ports"] == [{"protocol": "TCP", "port": 5050}]


def test_the_dashboard_is_the_one_of_deploy(tmp_path: Path) -> None:
    shown = named(rendered(tmp_path, EVERYTHING), "ConfigMap", "-dashboard")["data"]["cyberimage.json"]
    assert json.loads(shown) == json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "media"),
        ({**BUCKET, "replica": 3}, "replica"),
        ({"media": {"bucket": "pictures"}}, "bucket"),
        ({**BUCKET, "workers": {"gpu": {"lane": "fast"}}}, "lane"),
        ({**BUCKET, "workers": {"Not A Name": {}}}, "workers"),
        ({**BUCKET, "settings": {"log-level": "x"}}, "settings"),
        ({**BUCKET, "workers": {"gpu": {"scale": {"enabled": True}}}}, "needs `prometheus`"),
        ({**BUCKET, "api": {"replicas": 0}}, "replicas"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, values: Mapping[str, Any], said: str) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(dict(values)))
    done = helm("template", "ours", str(CHART), "--values", str(tmp_path / "values.yaml"))
    assert done.returncode != 0
    assert re.search(said, done.stderr, re.IGNORECASE), done.stderr
