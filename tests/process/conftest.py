"""The worker tests' installation, for the tests here that need a whole one."""

from __future__ import annotations

from tests.worker.conftest import empty_database, harness, new_harness, processes

__all__ = ["empty_database", "harness", "new_harness", "processes"]
