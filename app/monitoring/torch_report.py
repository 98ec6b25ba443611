"""torch's report about its build and devices, from a process of its own: this one never imports torch."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.config import ROOT
from app.core.device_reports import DriverReport, TorchReport
from app.core.visible_devices import HIDDEN

PROBE_SECONDS = 120.0  # importing torch from a slow disk, and the first kernels on the device
_PROBE = "app.engines.device_probe"
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def torch_report(
    driver: DriverReport, environment: Mapping[str, str], attention: Sequence[str] = (), *, always: bool = False
) -> TorchReport:
    """The report of the installed torch in `environment`, with the kinds of `attention` tried on its first device.

    Importing torch takes seconds, so that only happens where it can find a device, or `always`. Otherwise it is
    what the files of the package say about its build.
    """
    build = installed_build()
    if not build.version or not (always or _may_find_devices(build, driver, environment)):
        return build
    command = [sys.executable, "-m", _PROBE, *attention]
    surroundings = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **environment}
    try:
        asked = subprocess.run(
            command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _without_answer(build, f"it did not answer within {PROBE_SECONDS:.0f} s")
    except OSError as error:
        return _without_answer(build, f"its process could not be started: {error.strerror}")
    if asked.returncode:
        lines = asked.stderr.strip().splitlines()
        return _without_answer(build, f"exit status {asked.returncode}: {lines[-1][:200] if lines else 'no message'}")
    return TorchReport.from_json(json.loads(asked.stdout.splitlines()[-1]))


def installed_build() -> TorchReport:
    """Version and build of the installed torch, as its files say; an empty version when there is none."""
    spec = importlib.util.find_spec("torch")  # finds a package without importing it
    if spec is None or spec.origin is None:
        return TorchReport()
    try:
        tree = ast.parse(Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"))
    except OSError:
        return TorchReport()
    values = {name: value for name, value in _constants(tree) if isinstance(value, str)}
    return TorchReport(
        version=values.get("__version__", ""),
        cuda=values.get("cuda", ""),
        hip=values.get("hip", ""),
        xpu=values.get("xpu", ""),
    )


def _constants(tree: ast.Module) -> Sequence[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            found.append((target.id, value.value))
    return found


def _may_find_devices(build: TorchReport, driver: DriverReport, environment: Mapping[str, str]) -> bool:
    if driver.apple:
        return True
    if build.is_cpu_build or any(environment.get(name, "0").strip() in ("", HIDDEN) for name in _HIDING):
        return False
    device_files = (driver.cards, driver.problem, driver.amd, build.xpu, os.path.exists("/dev/nvhost-gpu"))
    return any(device_files)


def _without_answer(build: TorchReport, problem: str) -> TorchReport:
    return TorchReport(build.version, build.cuda, build.hip, build.xpu, problem=problem)
