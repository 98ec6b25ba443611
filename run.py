"""Start CyberImage: `python run.py` runs the API and its workers and keeps them running."""

import sys

from app.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
