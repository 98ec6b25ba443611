"""The GPU proof runs from a checkout without the service's packages, and says what it could not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from app.config import ROOT
from bench.gpu import kit

WITHOUT = (
    *("flask", "sqlalchemy", "av", "alembic", "click", "gunicorn", "httpx", "dotenv", "prometheus_client", "redis"),
    *(
        "scipy",
        "jsonschema",
        "pillow_heif",
        "spandrel",
        "einops",
        "standardwebhooks",
        "concurrent_log_handler",
    ),
)
SCRIPT = f"""
import sys

class Missing:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {WITHOUT!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Missing(each) for each in sys.meta_path]
from bench.gpu.proof import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_it_runs_without_the_packages_of_the_service(tmp_path):
    chosen = ["kernels_agree", "parked_models_come_back_as_they_were", "overflowing_models_are_widened", "engine"]
    command = [sys.executable, "-c", SCRIPT, "--tiny", "--device", "cpu", "--family", "flux", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([*command, "--only", *chosen], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    found = json.loads((tmp_path / "proof.json").read_text())
    assert found["flux: plain"]["repeats to the bit"] is True
    assert found["flux: engine"]["without previews"]["off"] == 0
    assert found["overflowing_models_are_widened"]["left out"] == "a CPU has no narrower type to begin with"
    assert "| repeats to the bit | True |" in (tmp_path / "proof.md").read_text()


def test_a_stage_that_there_is_no_time_for_is_left_out_and_one_that_fails_is_a_finding(tmp_path, capsys):
    from bench.gpu.proof import Report

    def fails():
        raise RuntimeError("no kernel image is available")

    report = Report(tmp_path, budget=5.0)
    report.stage("long", 60.0, fails)
    report.stage("failing", 0.0, fails)
    found = json.loads((tmp_path / "proof.json").read_text())
    assert "s are left, it may take 60" in found["long"]["left out"]
    assert found["failing"]["FAILED"] == "RuntimeError: no kernel image is available"
    assert report.failed == 1
    assert "failing" in capsys.readouterr().out


def test_the_kit_carries_the_pinned_versions_and_one_command(tmp_path):
    known = kit.pins()
    assert {name.lower() for name in (*kit.PINNED, *kit.OPTIONAL)} <= known.keys()
    assert known["diffusers"] == "diffusers==0.42.1"
    assert "bench.gpu.proof" in kit.command_of(tmp_path)
    assert f"{tmp_path}/site.tar.xz" in kit.command_of(tmp_path)
