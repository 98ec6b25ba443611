"""The tables of docs/GPU.md are what the code decides."""

from __future__ import annotations

from tools.gpu_docs import PAGE, filled


def test_the_tables_are_up_to_date() -> None:
    assert filled(PAGE.read_text()) == PAGE.read_text(), "run `make docs`"


def test_the_tables_are_there() -> None:
    text = PAGE.read_text()
    assert text.count("| machine | settings | workers | log |") == 1
    assert text.count("| NVIDIA driver | torch | built for |") == 1
