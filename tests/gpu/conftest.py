"""Tests of this folder need a GPU that torch can use. Without one they are skipped, and the summary says so."""

from __future__ import annotations

import pytest
import torch

_WHY = "NO GPU HERE: nothing of what only a GPU can show was tested (python -m bench.gpu.proof on one does it)"


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "tests/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=_WHY))
