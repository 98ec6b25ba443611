"""Asks the driver and torch about this machine and makes the device plan of the settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.config import Settings
from app.core.acceleration import Attention
from app.core.attention import TRIED, choose_kernels
from app.core.device_plan import DevicePlan, WorkerPlan, plan_devices
from app.core.device_reports import DriverReport
from app.errors import ConfigurationError
from app.monitoring.gpu_driver import driver_report
from app.monitoring.torch_report import torch_report
from app.services.models.own_capabilities import DeviceFacts

TRIED_AT_START = ("native", "xformers")

log = logging.getLogger("cyberimage.devices")


@dataclass(frozen=True)
class WorkerDevice:
    """What one worker runs on: its plan, and the attention kernels that work there."""

    plan: WorkerPlan
    attention: Attention


def device_environment(settings: Settings) -> dict[str, str]:
    """The environment that decides which devices are visible: this process', completed from `.env`."""
    visible = settings.cuda_visible_devices
    return {**os.environ, **({"CUDA_VISIBLE_DEVICES": visible} if visible else {})}


def device_plan(settings: Settings) -> DevicePlan:
    """The plan for the workers that the settings ask for; without workers no device is looked for."""
    if settings.workers == 0:
        return DevicePlan()
    environment, driver = device_environment(settings), driver_report()
    report = torch_report(driver, environment)
    return plan_devices(environment, driver, report, workers=settings.workers, device=settings.device)


def worker_device(settings: Settings) -> WorkerDevice:
    """The device of this worker process: the first of the plan. Raises ConfigurationError when DEVICE or
    ATTENTION_BACKEND cannot be fulfilled."""
    environment, driver = device_environment(settings), driver_report()
    tried = TRIED_AT_START if settings.attention_backend in TRIED else ()
    report = torch_report(driver, environment, tried)
    made = plan_devices(environment, driver, report, workers=1, device=settings.device)
    if made.error:
        raise ConfigurationError([made.error])
    plan = made.workers[0]
    problems = report.attention
    if len(report.devices) > 1 and tried:  # they were tried on the first device, which need not be this worker's
        problems = _tried_within(driver, {**environment, **plan.environment}, tried)
    choice = choose_kernels(settings.attention_backend, plan.device, problems)
    if choice.error:
        raise ConfigurationError([choice.error])
    if choice.note:
        log.warning(choice.note)
    return WorkerDevice(plan, choice.wish)


def device_facts(device: WorkerDevice, kind: str) -> DeviceFacts:
    """What a worker on `device`, of this kind in reports, says of it: of an NVIDIA card what its driver knows."""
    plan = device.plan
    card = next((card for card in driver_report().cards if plan.uuid and card.uuid == plan.uuid), None)
    facts = DeviceFacts(kind, plan.name, large_models=plan.large_models)
    if card is None:
        return facts
    capability = "" if card.capability is None else ".".join(map(str, card.capability))
    return replace(facts, name=card.name, memory_bytes=card.memory_bytes, compute_capability=capability)


def _tried_within(driver: DriverReport, environment: Mapping[str, str], kinds: tuple[str, ...]) -> Mapping[str, str]:
    return torch_report(driver, environment, kinds).attention
