"""The old name of `cyberimage keys`, for scripts that say `python -m app.keys`."""

import sys

from app.cli.main import run_old_name

if __name__ == "__main__":
    sys.exit(run_old_name("keys"))
