"""The API of a crash test: the real one, in a hurry."""

from __future__ import annotations

import sys

from tests.e2e.crash.hurry import hurry

if __name__ == "__main__":
    hurry()
    from app.serve import main

    sys.exit(main())
