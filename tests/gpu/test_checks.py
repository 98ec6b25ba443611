"""The checks of `bench.gpu.proof`, on the first GPU."""

from __future__ import annotations

import pytest

from bench.gpu.checks import CHECKS, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("gpu"), "cuda:0")


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_check(bench, check):
    check(bench)
