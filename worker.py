"""Start one worker process: `python worker.py`, which is `cyberimage worker`."""

import sys

from app.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[1:]]))
