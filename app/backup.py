"""The old name of `cyberimage backup`, for scripts that say `python -m app.backup`."""

import sys

from app.cli.main import run_old_name

if __name__ == "__main__":
    sys.exit(run_old_name("backup"))
