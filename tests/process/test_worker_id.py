"""Ids of workers keep their random part."""

from __future__ import annotations

from app.process.worker_id import new_suffix, worker_id


def test_the_id_of_a_worker_keeps_its_suffix_whatever_the_host_is_called() -> None:
    suffix = new_suffix()
    long = worker_id("h" * 200, 4_194_304, suffix)
    assert len(long) == 64
    assert long.endswith(f"-4194304-{suffix}")
    assert worker_id("studio", 7, suffix) == f"studio-7-{suffix}"
