"""Number of torch threads in tests: one, since tiny tensors gain nothing from more; `make check-numbers` tries
others."""

from __future__ import annotations

import os

TORCH_THREADS = int(os.environ.get("TEST_TORCH_THREADS", "1"))
