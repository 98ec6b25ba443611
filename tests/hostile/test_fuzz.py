"""A short run of the fuzzer, which `make fuzz` runs for an hour."""

from __future__ import annotations

import pytest

from tests.hostile.fuzz import ATTACKS, run
from tests.hostile.server import HostileServer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("name", ATTACKS)
def test_random_requests_never_fail_the_server(server: HostileServer, name: str) -> None:
    run(ATTACKS[name](server), examples=100, number=1)
    assert server.is_well()
