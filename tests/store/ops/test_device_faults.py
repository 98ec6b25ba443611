"""Faults of devices are kept by host and device until the device has finished a job."""

from __future__ import annotations

from app.store.db.database import Database
from app.store.ops.device_faults import DeviceFault, DeviceFaultStore


def test_failures_in_a_row_are_counted_and_the_last_one_is_described(database: Database) -> None:
    faults = DeviceFaultStore(database)
    assert faults.get("here", "cuda:0") is None
    faults.record("here", "cuda:0", job_id="a", reason="first")
    faults.record("here", "cuda:0", job_id=None, reason="second")
    assert faults.get("here", "cuda:0") == DeviceFault(None, "second", 2)


def test_each_device_has_its_own(database: Database) -> None:
    faults = DeviceFaultStore(database)
    faults.record("here", "cuda:0", job_id="a", reason="broken")
    faults.record("here", "cuda:1", job_id="b", reason="broken")
    assert faults.get("there", "cuda:0") is None
    faults.clear("here", "cuda:0")
    assert faults.get("here", "cuda:0") is None
    assert faults.get("here", "cuda:1") == DeviceFault("b", "broken", 1)
