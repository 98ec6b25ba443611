"""`cyberimage doctor`: the report, its JSON, and exit status 1 exactly when something is to be done."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from app.cli.main import main
from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport
from app.services.ops import diagnosis

CARD = Card(0, "GPU-a", "RTX 4090", (8, 9), 24_000_000_000)
WORKING = {"native": "", "flash": "", "cudnn": "", "xformers": "libcudart.so.12: cannot open"}
GOOD = TorchReport(
    "2.13.0", "13.0", kind="cuda", devices=(TorchDevice("RTX 4090", "GPU-a", (8, 9)),), architectures=("sm_86",)
)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def set_up(driver: DriverReport, torch: TorchReport, *, ram: int = 64_000_000_000, **environment: str) -> None:
        for name in ("CUDA_VISIBLE_DEVICES", "DEVICE", "ATTENTION_BACKEND"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"MODEL_CACHE_DIR": str(tmp_path), **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(diagnosis, "driver_report", lambda: driver)
        monkeypatch.setattr(diagnosis, "torch_report", lambda *_, **__: torch)
        monkeypatch.setattr(diagnosis, "_container_limit", lambda: None)
        memory = SimpleNamespace(total=ram, available=ram)
        monkeypatch.setattr(diagnosis.psutil, "virtual_memory", lambda: memory)

    return set_up


def test_a_machine_that_works(machine, capsys) -> None:
    machine(DriverReport("580.65.06", (CARD,)), TorchReport(**{**vars(GOOD), "attention": WORKING}))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for part in ("580.65.06", "RTX 4090", "8.9", "sm_86", "xformers: libcudart.so.12", "native: works", "Nothing is"):
        assert part in shown


def test_a_machine_without_a_gpu_is_fine(machine, capsys) -> None:
    machine(DriverReport(), TorchReport("2.13.0+cpu", attention={"native": ""}))
    assert main(["doctor", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["ok"] is True
    assert body["workers"] == [{"device": "cpu", "label": "cpu", "name": "", "uuid": ""}]


@pytest.mark.parametrize(
    ("driver", "torch", "environment", "problem"),
    [
        (DriverReport("550.54", (CARD,)), TorchReport("2.13.0", "13.0"), {}, "needs NVIDIA driver 580"),
        (DriverReport(problem="mismatch"), TorchReport("2.13.0", "13.0"), {}, "Restart this machine"),
        (DriverReport(), TorchReport(), {}, "torch is not installed"),
        (DriverReport(), TorchReport("2.13.0+cpu"), {"DEVICE": "cuda"}, "DEVICE=cuda"),
        (
            DriverReport("580.65", (CARD,)),
            TorchReport(**{**vars(GOOD), "attention": WORKING}),
            {"ATTENTION_BACKEND": "xformers"},
            "ATTENTION_BACKEND=xformers does not work",
        ),
        (
            DriverReport("580.65", (CARD,)),
            TorchReport(**{**vars(GOOD), "attention": {"native": "an illegal memory access"}}),
            {},
            "A small attention fails",
        ),
    ],
)
def test_what_is_to_be_done(machine, capsys, driver, torch, environment, problem) -> None:
    machine(driver, torch, **environment)
    assert main(["doctor", "--json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert body["ok"] is False
    assert any(problem in each for each in body["problems"]), body["problems"]
    assert main(["doctor"]) == 1
    assert problem in capsys.readouterr().out


def test_little_memory_and_a_container_s_limit(machine, capsys, monkeypatch) -> None:
    machine(DriverReport(), TorchReport("2.13.0+cpu"))
    monkeypatch.setattr(diagnosis, "_container_limit", lambda: 4_000_000_000)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "the container may use 4.0 GB" in shown
    assert "4 GB of RAM" in shown
