"""Fixtures: tiny checkpoints, and running services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.processes import Processes
from tools.tiny_models.build import build

MakeService = Callable[..., Service]
STEPS = '{"steps": {"min": 1, "max": 50, "default": 3}}'


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny FLUX and a tiny SD 3.5 checkpoint."""
    folder = tmp_path_factory.mktemp("tiny")
    for family in ("flux", "sd35"):
        build(family, folder)
    return folder


def models(tiny: Path) -> dict[str, str]:
    """Their catalogue lines."""
    return {
        "DEFAULT_MODEL_ID": "tiny-flux",
        "MODEL_TF": f'"tiny-flux;{tiny / "flux"};Tiny FLUX;local;false;{STEPS}"',
        "MODEL_TS": f"tiny-sd35;{tiny / 'sd35'};Tiny SD 3.5;local;false;{STEPS}",
    }


@pytest.fixture
def new_service(tiny: Path, tmp_path: Path) -> Iterator[MakeService]:
    processes = Processes(tmp_path)
    yield lambda **options: Service(processes, tmp_path, **{**models(tiny), **options})
    processes.close()


@pytest.fixture(scope="session")
def service(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running service, shared by all tests that leave it and its processes as they are."""
    folder = tmp_path_factory.mktemp("service")
    processes = Processes(folder)
    running = Service(processes, folder, **models(tiny))
    try:
        running.start()
        yield running
    finally:
        processes.close()


@pytest.fixture(scope="session")
def demo_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with default settings and the built-in model, shared by all tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("docs")
    processes = Processes(folder)
    running = Service(processes, folder)
    try:
        running.start()
        yield running
    finally:
        processes.close()
