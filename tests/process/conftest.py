"""The worker tests' installation, for the tests here that need a whole one."""

from __future__ import annotations

from tests.worker.conftest import harness, new_harness, processes

__all__ = ["harness", "new_harness", "processes"]
