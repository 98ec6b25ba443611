"""Start CyberImage: `python run.py`, which is `cyberimage run`."""

import sys

from app.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
