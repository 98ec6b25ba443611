"""Start one worker process: `python worker.py`, which is `cyberimage worker`."""

import sys

from app.process.platform_check import require_unix

if __name__ == "__main__":
    require_unix()  # before the first module that Windows lacks
    from app.cli.main import main

    sys.exit(main(["worker", *sys.argv[1:]]))
