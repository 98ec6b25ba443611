"""torch's report without importing torch here: from the files of the package, or from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport
from app.monitoring import torch_report as module
from app.monitoring.torch_report import installed_build, torch_report

CARDS = DriverReport("580.65", (Card(0, "GPU-a", "RTX 4090", (8, 9)),))
CUDA_BUILD = TorchReport(version="2.13.0", cuda="13.0")


@pytest.fixture
def build(monkeypatch):
    return lambda report: monkeypatch.setattr(module, "installed_build", lambda: report)


@pytest.fixture
def processes(monkeypatch):
    """The processes that would have been started; each prints `answer`."""
    started: list[list[str]] = []
    answer = TorchReport(
        version="2.13.0", cuda="13.0", kind="cuda", devices=(TorchDevice("RTX 4090", "GPU-a", (8, 9)),)
    )

    def run(command, **_: object) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(returncode=0, stdout=f"a warning\n{json.dumps(answer.as_json())}\n", stderr="")

    monkeypatch.setattr(module.subprocess, "run", run)
    return SimpleNamespace(started=started, answer=answer)


def test_the_build_is_read_from_the_package_s_files() -> None:
    code = (
        "import sys; from app.monitoring.torch_report import installed_build;"
        " print(installed_build().version, 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    import torch

    assert shown == [torch.__version__, "False"]
    assert installed_build().cuda == (torch.version.cuda or "")


@pytest.mark.parametrize(
    ("report", "driver", "environment"),
    [
        (CUDA_BUILD, DriverReport(), {}),
        (TorchReport(version="2.13.0+cpu"), CARDS, {}),
        (TorchReport(), CARDS, {}),
        (CUDA_BUILD, CARDS, {"CUDA_VISIBLE_DEVICES": ""}),
        (CUDA_BUILD, CARDS, {"CUDA_VISIBLE_DEVICES": "-1"}),
    ],
)
def test_torch_is_not_imported_where_it_can_find_nothing(build, processes, report, driver, environment) -> None:
    build(report)
    assert torch_report(driver, environment) == report
    assert processes.started == []


def test_torch_is_asked_where_there_is_a_gpu(build, processes) -> None:
    build(CUDA_BUILD)
    assert torch_report(CARDS, {}, ("xformers",)) == processes.answer
    assert processes.started == [[sys.executable, "-m", "app.engines.device_probe", "xformers"]]


def test_a_process_that_fails_is_a_problem_and_no_error(build, monkeypatch) -> None:
    build(CUDA_BUILD)
    failed = SimpleNamespace(returncode=-11, stdout="", stderr="one\nlibcudart.so.13: cannot open\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    assert torch_report(CARDS, {}).problem == "exit status -11: libcudart.so.13: cannot open"


def test_a_process_that_hangs_is_a_problem(build, monkeypatch) -> None:
    build(CUDA_BUILD)

    def hang(command, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(module.subprocess, "run", hang)
    assert "did not answer" in torch_report(CARDS, {}).problem


def test_the_real_process_reports_this_torch() -> None:
    import torch

    report = torch_report(DriverReport(), {"PATH": "/usr/bin"}, ("native", "xformers"), always=True)
    assert (report.version, report.problem) == (torch.__version__, "")
    assert report.attention["native"] == ""
    if report.kind == "cpu":
        assert report.attention["xformers"] == "it has no kernels for cpu"
