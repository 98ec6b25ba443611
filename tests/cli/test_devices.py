"""The devices of the supervisor's plan and of one worker, from the reports of the driver and of torch."""

from __future__ import annotations

import dataclasses

import pytest

from app.cli import devices
from app.cli.devices import device_plan, worker_device
from app.config import load_settings
from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport
from app.errors import ConfigurationError

CARD = Card(0, "GPU-a", "RTX 4090", (8, 9), 24_000_000_000)
DRIVER = DriverReport("580.65.06", (CARD, dataclasses.replace(CARD, index=1, uuid="GPU-b")))
TORCH = TorchReport(
    version="2.13.0",
    cuda="13.0",
    kind="cuda",
    devices=tuple(TorchDevice(card.name, card.uuid, card.capability, card.memory_bytes) for card in DRIVER.cards),
    architectures=("sm_80", "sm_86"),
)


@pytest.fixture
def machine(monkeypatch):
    """Stands in for the machine; returns the environments in which torch was asked."""
    asked: list[tuple[dict[str, str], tuple[str, ...]]] = []

    def set_up(driver: DriverReport, *reports: TorchReport) -> list[tuple[dict[str, str], tuple[str, ...]]]:
        answers = list(reports)

        def torch_report(_: DriverReport, environment, attention=()) -> TorchReport:
            asked.append((dict(environment), tuple(attention)))
            return answers.pop(0) if len(answers) > 1 else answers[0]

        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(devices, "driver_report", lambda: driver)
        monkeypatch.setattr(devices, "torch_report", torch_report)
        return asked

    return set_up


def settings(**environment: str):
    return load_settings(environment, env_file=None)


def test_without_workers_no_device_is_looked_for(machine) -> None:
    asked = machine(DRIVER, TORCH)
    assert device_plan(settings(WORKERS="0")).workers == ()
    assert asked == []


def test_the_visible_devices_may_stand_in_the_settings_file(machine) -> None:
    asked = machine(DRIVER, dataclasses.replace(TORCH, devices=TORCH.devices[1:]))
    (worker,) = device_plan(settings(CUDA_VISIBLE_DEVICES="1")).workers
    assert (worker.uuid, worker.environment["CUDA_VISIBLE_DEVICES"]) == ("GPU-b", "1")
    assert asked[0][0]["CUDA_VISIBLE_DEVICES"] == "1"


def test_hiding_all_in_the_environment_is_more_than_an_empty_setting(machine, monkeypatch) -> None:
    machine(DRIVER, dataclasses.replace(TORCH, devices=(), kind="cpu"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (worker,) = device_plan(settings()).workers
    assert (worker.device, worker.reason) == ("cpu", "")


def test_a_worker_s_attention_is_tried_on_its_own_device(machine) -> None:
    first = dataclasses.replace(TORCH, attention={"native": "", "xformers": ""})
    second = dataclasses.replace(TORCH, devices=TORCH.devices[1:], attention={"native": "", "xformers": "no kernel"})
    asked = machine(DRIVER, first, second)
    found = worker_device(settings(DEVICE="cuda:1"))
    assert (found.plan.uuid, found.attention) == ("GPU-b", "native")
    assert asked[1][0]["CUDA_VISIBLE_DEVICES"] == "1"


def test_auto_falls_back_and_says_so(machine, caplog) -> None:
    seen = dataclasses.replace(TORCH, devices=TORCH.devices[:1], attention={"xformers": "libcudart.so.12 is missing"})
    machine(dataclasses.replace(DRIVER, cards=(CARD,)), seen)
    assert worker_device(settings()).attention == "native"
    assert "libcudart.so.12 is missing" in caplog.text


@pytest.mark.parametrize(
    ("torch", "sentence"),
    [
        (dataclasses.replace(TORCH, devices=TORCH.devices[:1], attention={"xformers": "no kernel"}), "no kernel"),
        (TorchReport("2.13.0+cpu"), "no kernels for cpu"),
    ],
)
def test_xformers_that_is_asked_for_and_does_not_work_is_refused(machine, torch, sentence) -> None:
    machine(dataclasses.replace(DRIVER, cards=(CARD,)) if torch.devices else DriverReport(), torch)
    with pytest.raises(ConfigurationError, match=f"ATTENTION_BACKEND=xformers does not work.*{sentence}"):
        worker_device(settings(ATTENTION_BACKEND="xformers"))


def test_native_attention_needs_no_trial(machine) -> None:
    asked = machine(dataclasses.replace(DRIVER, cards=(CARD,)), dataclasses.replace(TORCH, devices=TORCH.devices[:1]))
    assert worker_device(settings(ATTENTION_BACKEND="native")).attention == "native"
    assert asked[0][1] == ()


def test_a_device_that_is_not_there_is_refused(machine) -> None:
    machine(DRIVER, TORCH)
    with pytest.raises(ConfigurationError, match="DEVICE=cuda:5"):
        worker_device(settings(DEVICE="cuda:5"))
