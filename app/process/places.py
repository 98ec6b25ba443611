"""Where the program is."""

from __future__ import annotations

from pathlib import Path

CODE = Path(__file__).resolve().parents[2]  # the folder of the packages, with the built-in models: of a wheel too
