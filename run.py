"""Start CyberImage: `python run.py`, which is `cyberimage run`."""

import sys

from app.process.platform_check import require_unix

if __name__ == "__main__":
    require_unix()  # before the first module that Windows lacks
    from app.cli.run import main

    sys.exit(main())
