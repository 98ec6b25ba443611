"""Fixtures: one server for all hostile clients, which it has to survive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.server import HostileServer
from tests.processes import Processes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileServer]:
    folder = tmp_path_factory.mktemp("hostile")
    processes = Processes(folder)
    try:
        yield HostileServer(processes, folder)
    finally:
        processes.close()
