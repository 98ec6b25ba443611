"""`python -m app.cli`: the `cyberimage` command where it is not installed."""

import sys

from app.cli.main import main

sys.exit(main())
