"""Start one worker process: `python worker.py`. It takes jobs from the queue until it is told to stop.

`python worker.py --lane remote` starts the one that talks to the providers of remote models.
"""

import sys

from app.cli.worker import main

if __name__ == "__main__":
    sys.exit(main(arguments=sys.argv[1:]))
