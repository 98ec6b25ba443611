"""Start one worker process: `python worker.py`. It takes jobs from the queue until it is told to stop."""

import sys

from app.worker.main import main

if __name__ == "__main__":
    sys.exit(main())
