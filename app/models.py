"""The old name of `cyberimage models`, for scripts that say `python -m app.models`."""

import sys

from app.cli.main import run_old_name

if __name__ == "__main__":
    sys.exit(run_old_name("models"))
