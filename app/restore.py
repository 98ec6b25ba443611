"""The old name of `cyberimage restore`, for scripts that say `python -m app.restore`."""

import sys

from app.cli.main import run_old_name

if __name__ == "__main__":
    sys.exit(run_old_name("restore"))
