"""How torch computes in tests: one thread, since tiny tensors gain nothing from more and the tests share the machine;
`make check-numbers` also tries others."""

from __future__ import annotations

import os

TORCH_THREADS = int(os.environ.get("TEST_TORCH_THREADS", "1"))
